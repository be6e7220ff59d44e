from __future__ import annotations

import pytest

from henasy_stream.sources._backlog import Backlog


def late(gaps: list[float], busy_s: float = 0.0) -> list[bool]:
    """`busy_s` of each gap is not spent on waiting for the picture."""
    backlog = Backlog()
    return [backlog.is_late(gap, max(0.0, gap - busy_s)) for gap in gaps]


@pytest.mark.parametrize("fps", [0.5, 5, 30, 120])
def test_a_steady_camera_is_never_late(fps):
    assert not any(late([1 / fps] * 200))


def test_a_burst_at_the_start_and_a_changing_rate_are_not_late():
    assert not any(late([0.0] * 4 + [0.05] * 30 + [1 / 120] * 300 + [0.2] * 50))


@pytest.mark.parametrize("cost_s", [0.001, 0.01, 0.02, 0.04])
def test_what_came_while_nobody_read_is_late_until_one_had_to_be_waited_for(cost_s):
    waiting = 200  # 10 s at 20 frames a second
    found = late([0.05] * 50 + [10.0] + [cost_s] * (waiting - 1) + [0.05 + cost_s] + [0.05] * 20, cost_s)
    assert found == [False] * 50 + [True] * waiting + [False] * 21


def test_a_reader_that_cannot_catch_up_is_not_left_without_pictures():
    """Taking a picture costs 40 of the 50 ms that lie between two: 10 s are worked off in 1,000 pictures, not never."""
    found = late([0.05] * 50 + [10.0] + [0.04] * 2000, 0.04)
    assert 990 < sum(found) < 1010


def test_a_sender_that_paused_costs_one_picture():
    assert sum(late([0.05] * 50 + [3.0] + [0.05] * 50)) == 1


def test_pictures_are_late_no_longer_than_the_pause_lasted():
    assert sum(late([0.05] * 20 + [2.0] + [0.0] * 1000)) <= 2.0 / 0.05 + 1
