from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from henasy_stream.stream.association import Affinity, associate, motion_iou, shared_mask_iou

matrices = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=7), elements=st.floats(0, 1, width=32)
)


@given(matrices, st.floats(0.1, 0.9))
def test_pairs_are_one_to_one_and_never_below_the_threshold(affinity, least):
    rows, columns = associate(affinity, least)
    assert len(set(rows)) == len(rows) == len(set(columns)) == len(columns)
    assert (affinity[rows, columns] >= least).all()
    # nothing acceptable is left between two that stayed alone
    free_rows = np.setdiff1d(np.arange(affinity.shape[0]), rows)
    free_columns = np.setdiff1d(np.arange(affinity.shape[1]), columns)
    assert not (affinity[np.ix_(free_rows, free_columns)] >= least).any()


@given(st.integers(0, 2**31))
def test_the_order_of_slots_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    affinity = rng.random((5, 6)).astype(np.float32)
    order = rng.permutation(6)
    pairs = set(zip(*(a.tolist() for a in associate(affinity, 0.3)), strict=True))
    rows, columns = associate(affinity[:, order], 0.3)
    assert {(int(r), int(order[c])) for r, c in zip(rows, columns, strict=True)} == pairs


def test_a_rejected_pair_does_not_displace_an_acceptable_one():
    # by total affinity the diagonal would win (0.9 + 0.44), but 0.44 is no match
    affinity = np.array([[0.9, 0.5], [0.5, 0.44]], np.float32)
    rows, columns = associate(affinity, 0.45)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]


def test_masks_are_compared_on_shared_frames_only():
    old = np.zeros((2, 3, 4, 4), np.float32)
    old[0, 1:, :2], old[1, 1:, 2:] = 1, 1  # frames 20 and 30
    old[:, 0] = 0.7  # frame 10 is not shared
    stamps = np.array([[10, 20, 30], [10, 20, 30]])
    new = np.zeros((2, 3, 4, 4), np.float32)
    new[0, :2, 2:], new[1, :2, :2] = 1, 1  # the slots have changed places
    new[:, 2] = 0.4  # frame 40 is new
    np.testing.assert_allclose(shared_mask_iou(old, stamps, new, np.array([20, 30, 40])), [[0, 1], [1, 0]])


def test_without_a_shared_frame_the_mask_term_is_unknown():
    masks = np.ones((1, 2, 3, 3), np.float32)
    iou = shared_mask_iou(masks, np.array([[1, 2]]), masks, np.array([3, 4]))
    assert np.isnan(iou).all()
    ones = np.ones((1, 1), np.float32)
    assert Affinity().combine(iou, ones, ones, ones)[0, 0] == pytest.approx(1.0)
    assert Affinity().combine(0 * ones, ones, ones, ones)[0, 0] == pytest.approx(0.45)
    # a lost thing: being the same elsewhere says more than being another in the same place
    same_elsewhere = Affinity().combine(iou, 0 * ones, ones, ones)[0, 0]
    other_here = Affinity().combine(iou, ones, 0.4 * ones, 0.3 * ones)[0, 0]
    assert other_here == 0
    assert same_elsewhere > Affinity().least_apart


def test_padding_counts_a_repeated_frame_once():
    masks = np.zeros((1, 3, 2, 2), np.float32)
    masks[0, :, 0] = 1
    iou = shared_mask_iou(masks, np.array([[5, 5, 5]]), masks, np.array([5, 5, 6]))
    np.testing.assert_allclose(iou, [[1.0]])


def test_motion_iou_forgives_more_with_age():
    box, moved = np.array([[0.0, 0, 10, 10]]), np.array([[12.0, 0, 22, 10]])
    near = motion_iou(box, np.array([0.1]), moved)[0, 0]
    late = motion_iou(box, np.array([2.0]), moved)[0, 0]
    assert 0 < near < late < 1
    assert motion_iou(box, np.array([0.1]), box)[0, 0] == pytest.approx(1.0)
    assert motion_iou(box, np.array([0.1]), box + 100)[0, 0] == 0
    assert motion_iou(box * 0, np.array([0.1]), box * 0)[0, 0] == 0
