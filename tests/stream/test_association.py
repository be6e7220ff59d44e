from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from henasy_stream.stream.association import (
    Affinity,
    Evidence,
    associate,
    box_sizes,
    middles,
    nearness,
    shared_mask_iou,
)

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


def evidence(**terms):
    """Of one pair; what is not told speaks neither for nor against it."""
    told = {"mask": np.nan, "place": 0.5, "home": 0.5, "appearance": 0.5, "label": 0.5} | terms
    age = told.pop("age", 0.5)
    return Evidence(
        **{name: np.full((1, 1), value, np.float32) for name, value in told.items()}, age_s=np.array([float(age)])
    )


ALL = {"place": 1.0, "home": 1.0, "appearance": 1.0, "label": 1.0}


def test_an_affinity_is_the_mean_of_what_is_known():
    rules = Affinity(least_shared=0.0, least_apart=0.0, least_alike=0.0)
    assert rules.combine(evidence(**ALL))[0, 0] == pytest.approx(1.0)
    assert rules.combine(evidence(**ALL, mask=1.0))[0, 0] == pytest.approx(1.0)
    assert rules.combine(evidence(**ALL, mask=0.0))[0, 0] < 0.9
    for name in ALL:
        assert rules.combine(evidence(**ALL | {name: 0.0}))[0, 0] < 0.95, name
    everything = rules.combine(evidence(**ALL | {"mask": 0.5}))[0, 0]
    assert rules.combine(evidence(**ALL, mask=0.0))[0, 0] < everything < 1


def test_where_a_thing_was_gives_way_to_where_it_mostly_is():
    rules = Affinity(least_apart=0.0, least_alike=0.0)

    def gains(name):
        near, far = ([rules.combine(evidence(age=t, **{name: v}))[0, 0] for t in (0.5, 1, 2, 20)] for v in (1.0, 0.0))
        return (np.array(near) - far).tolist()

    place, home = gains("place"), gains("home")
    assert place == sorted(place, reverse=True)
    assert home == sorted(home)
    assert place[0] > 4 * home[0]  # equal things that change places do not change ids
    assert home[-1] > 100 * place[-1]


def test_another_thing_in_the_same_place_is_no_match_and_the_same_elsewhere_is():
    rules = Affinity()
    other_here = evidence(place=1.0, home=1.0, appearance=0.1, label=0.5, age=1.5)
    assert rules.combine(other_here)[0, 0] == 0
    same_elsewhere = evidence(place=0.0, home=0.2, appearance=1.0, label=1.0, age=1.5)
    assert rules.combine(same_elsewhere)[0, 0] > rules.least_apart


def test_padding_counts_a_repeated_frame_once():
    masks = np.zeros((1, 3, 2, 2), np.float32)
    masks[0, :, 0] = 1
    iou = shared_mask_iou(masks, np.array([[5, 5, 5]]), masks, np.array([5, 5, 6]))
    np.testing.assert_allclose(iou, [[1.0]])


def test_nearness_is_measured_in_sizes_of_the_boxes():
    box = np.array([[0.0, 0, 10, 10]])
    near = [nearness(middles(box), box_sizes(box), box + shift, 1.0)[0, 0] for shift in (0, 5, 10, 100)]
    assert near[0] == pytest.approx(1.0)
    assert near == sorted(near, reverse=True)
    assert near[3] < 1e-4
    scaled = nearness(middles(7 * box), box_sizes(7 * box), 7 * (box + 5), 1.0)[0, 0]
    assert scaled == pytest.approx(near[1])
    assert nearness(middles(box), box_sizes(box), box + 10, 2.0)[0, 0] > near[2]
    assert np.isfinite(nearness(middles(box * 0), box_sizes(box * 0), box * 0, 1.0)).all()
