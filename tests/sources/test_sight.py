from __future__ import annotations

import numpy as np
import pytest

from henasy_stream.sources._freeze import Freeze
from henasy_stream.sources._sight import Sight, blindness


def noisy(level: float, noise: float = 1.5) -> np.ndarray:
    drawn = np.random.default_rng(0).normal(level, noise, (48, 64, 3))
    return np.clip(drawn, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (np.zeros((48, 64, 3), np.uint8), "black"),
        (noisy(6), "black"),
        (np.full((48, 64, 3), 255, np.uint8), "white"),
        (noisy(252), "white"),
    ],
)
def test_a_covered_lens_and_the_sun_are_told(image, word):
    assert word in (blindness(image) or "")


def test_a_view_a_grey_wall_and_a_green_driver_fault_are_not_blind():
    dark_view = np.zeros((48, 64, 3), np.uint8)
    dark_view[20:30, 20:30] = 60
    green = np.zeros((48, 64, 3), np.uint8)
    green[..., 1] = 135
    assert [blindness(i) for i in (dark_view, noisy(128), green)] == [None] * 3


def test_a_blink_is_not_told_and_sight_comes_back():
    sight = Sight(3.0)
    assert [sight.look("black", t) for t in (0.0, 1.0, 2.9, 3.1)] == ["", "", "", "black"]
    assert [sight.look(None, 4.0), sight.look("black", 5.0), sight.look("black", 7.9)] == ["", "", ""]


def test_freezes():
    freeze, still, other = Freeze(1.0), noisy(100, 20), noisy(90, 20)
    freeze.restart(0.0)
    seen = [freeze.look(still, t, blind=False) for t in (0.0, 0.5, 0.9, 1.1)]
    assert seen == ["new", "repeated", "repeated", "frozen"]
    freeze.restart(2.0)
    assert freeze.look(still, 2.1, blind=False) == "still frozen"
    assert freeze.look(other, 2.2, blind=False) == "new"
    assert freeze.look(other, 2.3, blind=False) == "repeated"


def test_what_is_blind_never_freezes():
    freeze, black = Freeze(1.0), noisy(0, 0)
    freeze.restart(0.0)
    assert {freeze.look(black, t, blind=True) for t in (1.0, 5.0, 50.0)} == {"new", "repeated"}
