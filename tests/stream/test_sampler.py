from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from henasy_stream.stream.sampler import Sampler, SampleRing, choose_hop

SECOND = 1_000_000_000


def run(sampler, stamps, num_frames=4):
    """Pushes one-pixel frames; returns the ring and (stamp, window stamps) for every frame that was taken."""
    ring, taken = SampleRing.empty(num_frames, 1), []
    for index, stamp in enumerate(stamps):
        ring, wanted = sampler.observe(ring, int(stamp))
        if wanted:
            ring = sampler.push(ring, np.full((1, 1, 3), index % 256, np.uint8), int(stamp))
            taken.append((int(stamp), ring.window()[1]))
    return ring, taken


@pytest.mark.parametrize("fps", [10, 24, 25, 29.97, 30, 60, 120])
@pytest.mark.parametrize("period_s", [0.5, 1 / 3, 0.25])
def test_constant_rates_do_not_drift(fps, period_s):
    sampler = Sampler.plan(4, 3 * period_s, gap_s=2)
    stamps = np.round(np.arange(int(120 * fps)) * SECOND / fps).astype(np.int64)
    _, taken = run(sampler, stamps)
    samples = np.array([stamp for stamp, _ in taken])
    grid = np.arange(len(samples)) * sampler.period_ns
    assert abs(len(samples) - 120 / period_s) <= 1
    # the first interval is not known before the second frame; from there every sample is the nearest frame
    assert np.abs(samples - grid).max() <= SECOND / fps / 2 + 2


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.floats(8, 60), st.floats(0.0, 0.6))
def test_variable_rates_and_drops_stay_on_the_grid(seed, fps, dropped):
    rng = np.random.default_rng(seed)
    sampler = Sampler.plan(4, 1.5, gap_s=30)
    steps = rng.uniform(0.6, 1.4, 2000) * SECOND / fps
    stamps = np.cumsum(steps).astype(np.int64)[rng.random(2000) >= dropped]
    ring, taken = run(sampler, stamps)
    longest = int(np.diff(stamps).max())
    for stamp, window in taken:
        assert window[-1] == stamp
        assert (np.diff(window) >= 0).all()
    # T samples always lie span apart, to within one pause between frames at either end
    full = [window for _, window in taken[8:]]
    spans = np.array([window[-1] - window[0] for window in full])
    assert np.abs(spans - 3 * sampler.period_ns).max() <= longest + sampler.period_ns / 2
    ticks = (stamps[-1] - stamps[0]) // sampler.period_ns
    assert abs(ring.next_tick - ticks) <= 2


def test_a_slow_source_fills_grid_points_with_the_nearer_frame():
    sampler = Sampler.plan(4, 3.0, gap_s=60)  # p = 1 s
    _, taken = run(sampler, [0, 1 * SECOND, 4 * SECOND])
    # grid points 2 and 3 had no frame: 2 is nearer to 1 s, 3 is nearer to 4 s
    np.testing.assert_array_equal(taken[-1][1] // SECOND, [1, 1, 4, 4])


def test_a_long_stall_leaves_only_the_new_frame_and_the_grid_goes_on():
    sampler = Sampler.plan(4, 3.0, gap_s=600)
    ring, taken = run(sampler, [0, SECOND, 101 * SECOND, 102 * SECOND])
    np.testing.assert_array_equal(taken[-1][1] // SECOND, [101, 101, 101, 102])
    assert ring.next_tick == 103


def test_the_first_window_repeats_the_oldest_sample():
    sampler = Sampler.plan(4, 1.5, gap_s=2)
    ring, taken = run(sampler, [7 * SECOND])
    np.testing.assert_array_equal(taken[0][1], [7 * SECOND] * 4)
    assert ring.coverage == 0.25
    images, _ = ring.window()
    assert images.shape == (4, 1, 1, 3)
    ring, taken = run(sampler, [7 * SECOND, int(7.5 * SECOND)])
    np.testing.assert_array_equal(taken[1][1], [7 * SECOND] * 3 + [int(7.5 * SECOND)])
    assert ring.coverage == 0.5


def test_pictures_travel_with_their_stamps():
    ring, _ = run(Sampler.plan(3, 1.0, gap_s=9), np.arange(40) * SECOND // 20)
    images, stamps = ring.window()
    np.testing.assert_array_equal(images[:, 0, 0, 0], stamps * 20 // SECOND)


def test_repeated_stamps_are_never_taken():
    sampler = Sampler.plan(4, 1.5, gap_s=2)
    _, taken = run(sampler, [0, 0, SECOND // 2, SECOND // 2, SECOND])
    assert [stamp for stamp, _ in taken] == [0, SECOND // 2, SECOND]


def test_discontinuities_are_named():
    sampler = Sampler.plan(4, 1.5, gap_s=2)
    ring = SampleRing.empty(4, 1)
    assert sampler.discontinuity(ring, 99 * SECOND) is None
    ring, _ = run(sampler, [10 * SECOND])
    assert sampler.discontinuity(ring, 12 * SECOND) is None
    assert sampler.discontinuity(ring, 10 * SECOND) is None
    assert sampler.discontinuity(ring, 13 * SECOND) == "gap of 3.000 s"
    assert sampler.discontinuity(ring, 9 * SECOND) == "stamps went back by 1.000 s"


@pytest.mark.parametrize(
    ("wanted", "live", "step_s", "hop"),
    [
        (0, False, 9.0, 1),  # a file waits
        (0, True, 0.0, 1),
        (0, True, 0.5, 1),
        (0, True, 0.51, 2),
        (0, True, 1.4, 3),
        (0, True, 9.0, 4),  # no shared frame any more
        (2, True, 9.0, 2),
        (9, False, 0.0, 4),
    ],
)
def test_hop(wanted, live, step_s, hop):
    assert choose_hop(wanted, live=live, step_s=step_s, period_ns=SECOND // 2, num_frames=4) == hop
