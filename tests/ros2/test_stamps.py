"""Which stamps of headers are believed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from henasy_stream_ros.stamps import StampRule, split
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_700_000_000_000_000_000


@given(sec=st.integers(1, 2**31 - 1), nanosec=st.integers(0, 999_999_999))
def test_a_stamp_counts_as_it_is(sec, nanosec):
    rule = StampRule()
    stamp = rule.stamp(sec, nanosec, NOW)
    assert stamp is not None
    assert (stamp.ns, stamp.source) == (sec * 10**9 + nanosec, "device")
    assert split(stamp.ns) == (sec, nanosec)
    assert rule.remark == ""


@pytest.mark.parametrize(
    ("sec", "nanosec", "says"),
    [
        (0, 0, "zero"),
        (-1, 5, "before 1970"),
        (-(2**31), 0, "before 1970"),
        (5, 2**32 - 1, "no time"),
        (5, 10**9, "no time"),
    ],
)
def test_what_is_none_gives_way_to_the_time_of_arrival(sec, nanosec, says):
    rule = StampRule()
    stamp = rule.stamp(sec, nanosec, NOW)
    assert stamp is not None
    assert (stamp.ns, stamp.source) == (NOW, "receive")
    assert says in rule.remark


def test_the_remark_stays_the_first_one():
    rule = StampRule()
    rule.stamp(0, 0, NOW)
    first = rule.remark
    rule.stamp(-1, 0, NOW + 1)
    assert rule.remark == first


@given(times=st.lists(st.integers(0, 500_000_000), min_size=2, max_size=30))
def test_stamps_of_arrival_increase_though_the_clock_stands(times):
    rule = StampRule()
    now, found = NOW, []
    for step in times:
        now += step
        stamp = rule.stamp(0, 0, now)
        assert stamp is not None
        found.append(stamp.ns)
    assert all(after > before for before, after in pairwise(found))
    assert found[-1] - now <= len(times)


def test_a_clock_that_goes_back_is_followed():
    rule = StampRule()
    rule.stamp(0, 0, NOW)
    stamp = rule.stamp(0, 0, NOW - 60 * 10**9)
    assert stamp is not None
    assert stamp.ns == NOW - 60 * 10**9


def test_before_the_simulated_clock_begins_there_is_no_telling():
    assert StampRule().stamp(0, 0, 0) is None
    assert StampRule().stamp(3, 0, 0) is not None


@given(ns=st.integers(-(2**70), 2**70))
def test_what_a_ros_stamp_cannot_hold_is_its_nearest(ns):
    sec, nanosec = split(ns)
    assert -(2**31) <= sec < 2**31
    assert 0 <= nanosec < 10**9
    if -(2**31) <= ns // 10**9 < 2**31:
        assert sec * 10**9 + nanosec == ns
