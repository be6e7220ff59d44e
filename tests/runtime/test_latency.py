from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from henasy_stream.runtime.latency import Latency


@given(st.lists(st.floats(0, 10), min_size=1, max_size=40), st.integers(1, 16))
def test_percentiles_are_those_of_the_newest_values(seconds, keep):
    latency = Latency(keep)
    for value in seconds:
        latency.add("network", value)
    found = latency.percentiles()["network"]
    expected = np.percentile(seconds[-keep:], (50, 95, 99)) * 1e3
    np.testing.assert_allclose((found.p50, found.p95, found.p99), expected, rtol=1e-12, atol=1e-12)


def test_only_stages_that_ran_are_told_and_in_the_order_of_the_way():
    latency = Latency()
    latency.add("sinks", 0.1)
    with latency.timed("read"):
        pass
    assert list(latency.percentiles()) == ["read", "sinks"]


def test_a_clock_that_was_set_back_gives_no_negative_age():
    latency = Latency()
    latency.add("age", -5.0)
    assert latency.percentiles()["age"].p50 == 0.0
