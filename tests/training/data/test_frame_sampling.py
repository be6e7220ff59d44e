from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.sampling import SPANS, dense_views, egovlp_ids, lavila_ids, sample

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "frame_sampling.json").read_text())


@pytest.mark.parametrize("case", GOLDEN["lavila_get_frame_ids"]["cases"])
def test_lavila_ids(case):
    assert lavila_ids(case["start_frame"], case["end_frame"], case["num_segments"]).tolist() == case["ids"]


@pytest.mark.parametrize("case", GOLDEN["lavila_clip_seconds"]["cases"])
def test_lavila_seconds(case):
    count = case["clip_length"]
    first, end = SPANS["lavila"](case["start_sec"], case["end_sec"], case["chunk_start"], case["fps"], count)
    assert (first, end - first) == (case["frame_offset"], case["total_duration"])
    assert sample("lavila", first, end, count).tolist() == case["ids"]


@pytest.mark.parametrize("case", GOLDEN["egovlp_uniform"]["cases"])
def test_egovlp_ids(case):
    assert egovlp_ids(case["start"], case["end"], case["num_frames"]).tolist() == case["ids"]


def test_egovlp_repeats_the_last_frame_of_a_stretch_that_ends_too_early():
    assert egovlp_ids(0, 2, 4).tolist() == [0, 1, 1, 1]


def test_epic_rounds_the_start_and_rounds_up_the_end():
    assert SPANS["epic"](1.012, 2.012, 0, 50, 4) == (51, 101)
    assert SPANS["epic"](16.012, 17.012, 15, 50, 4) == (51, 101)


def test_egovlp_cuts_both():
    assert SPANS["egovlp"](601.99, 602.99, 600, 10, 4) == (19, 29)


@given(
    st.integers(0, 10_000), st.integers(1, 2_000), st.integers(1, 32), st.one_of(st.none(), st.integers(0, 2**32 - 1))
)
def test_ids_are_ascending_and_inside_the_clip(first, length, count, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    ids = lavila_ids(first, first + length, count, rng)
    assert len(ids) == count
    assert ids.min() >= first
    assert ids.max() < first + length
    assert (np.diff(ids) >= 0).all()


def test_jitter_draws_within_the_parts_that_the_middles_stand_for():
    middles, low, high = lavila_ids(0, 121, 4), np.full(4, 999), np.zeros(4, int)
    rng = np.random.default_rng(0)
    for _ in range(500):
        ids = lavila_ids(0, 121, 4, rng)
        low, high = np.minimum(low, ids), np.maximum(high, ids)
    assert (low == [0, 30, 60, 90]).all()
    assert (high == [30, 60, 90, 120]).all()
    assert middles.tolist() == [15, 45, 75, 105]


def test_dense_views_are_spread_over_the_file():
    views = dense_views(100, views=3, length=16, stride=2)
    assert views[:, 0].tolist() == [0, 34, 68]
    assert views[0].tolist() == list(range(0, 32, 2))
    assert views.max() == 98


def test_dense_views_of_a_short_file_hold_its_last_frame():
    views = dense_views(10, views=2, length=8, stride=2)
    assert views.tolist() == [[0, 2, 4, 6, 8, 9, 9, 9]] * 2
