from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from henasy_stream.stream.parts import MOST_PARTS, find_parts

GRID, FRAMES = 20, 4


def film(*paths, side=5):
    """(T, h, w) of squares whose left upper corners are at `paths` (each T pairs x, y; None: not there)."""
    masks = np.zeros((FRAMES, GRID, GRID), np.float32)
    for path in paths:
        for t, corner in enumerate(path):
            if corner is not None:
                x, y = corner
                masks[t, y : y + side, x : x + side] = 1.0
    return masks


def test_two_equal_things_in_one_slot_are_told_apart_in_every_frame():
    left, right = [(1, 2), (1, 4), (2, 6), (3, 8)], [(13, 12), (13, 10), (12, 8), (12, 6)]
    boxes, masks = find_parts(film(left, right))
    assert boxes.shape == (2, 4)
    order = np.argsort(boxes[:, 0])
    np.testing.assert_allclose(boxes[order], [[3, 8, 8, 13], [12, 6, 17, 11]], atol=0.3)
    np.testing.assert_array_equal(masks[order[0]], film(left))
    np.testing.assert_array_equal(masks[order[1]], film(right))


def test_a_part_that_was_not_there_before_has_no_mask_then():
    left, right = [(1, 2)] * 4, [None, None, (13, 10), (13, 10)]
    boxes, masks = find_parts(film(left, right))
    new = masks[np.argmax(boxes[:, 0])]
    np.testing.assert_array_equal(new, film(right))


def test_crumbs_that_a_hand_cuts_off_are_no_entity():
    mask = film([(1, 2)] * 4, side=6)
    mask[:, 15:17, 15:18] = 1.0
    boxes, masks = find_parts(mask)
    np.testing.assert_allclose(boxes, [[1, 2, 7, 8]], atol=0.3)
    np.testing.assert_array_equal(masks[0], mask)  # they stay with the thing


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_mask_without_a_sane_place_shows_nothing(value):
    assert len(find_parts(np.full((FRAMES, GRID, GRID), value, np.float32))[0]) == 0


@given(st.integers(0, 2**31), st.sampled_from([1, 4]), st.sampled_from([6, 14, 20]))
def test_whatever_the_mask_parts_are_few_inside_and_share_it_out(seed, frames, grid):
    rng = np.random.default_rng(seed)
    coarse = rng.random((frames, 4, 4)).astype(np.float32) ** 2
    masks = np.kron(coarse, np.ones((1, grid // 4 + 1, grid // 4 + 1), np.float32))[:, :grid, :grid]
    boxes, parts = find_parts(masks)
    assert len(boxes) == len(parts) <= MOST_PARTS
    assert ((boxes >= 0) & (boxes <= grid)).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    if len(parts):
        np.testing.assert_allclose(parts.sum(0), masks, rtol=1e-6)
