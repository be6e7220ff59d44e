from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.metrics import adjusted_rand_index_fg, mask_iou, mean_iou, multiple_choice_accuracy, trivial_masks

EGOMCQ = json.loads((Path(__file__).parents[1] / "golden" / "egomcq_metric.json").read_text())["cases"]


@pytest.mark.parametrize("case", EGOMCQ, ids=lambda case: case["name"])
def test_multiple_choice_equals_egomcq_by_type(case: Any) -> None:
    result = multiple_choice_accuracy(case["preds"], case["labels"], case["types"])
    for name, key in (("inter", "result_type1_percent"), ("intra", "result_type2_percent")):
        if case[key] is None:
            assert name not in result
        else:
            assert result[name] == pytest.approx(case[key], abs=1e-9)


def test_multiple_choice_refuses_unknown_types_and_shapes() -> None:
    with pytest.raises(ValueError, match=r"\[3\]"):
        multiple_choice_accuracy(np.eye(5), np.arange(5), [1, 1, 2, 2, 3])
    with pytest.raises(ValueError, match="expected"):
        multiple_choice_accuracy(np.eye(5), np.arange(4), np.ones(5))


@pytest.mark.parametrize(
    ("true", "pred", "expected"),
    [
        # alike in both 2 pairs, in the truth 6, in the prediction 3, of 15: chance 6 * 3 / 15, most (6 + 3) / 2
        ([1, 1, 1, 2, 2, 2], [1, 1, 2, 2, 3, 3], (2 - 1.2) / (4.5 - 1.2)),
        ([1, 1, 2, 2], [7, 7, 9, 9], 1.0),
        ([1, 1, 2, 2], [1, 2, 1, 2], -0.5),
        ([1, 1, 2, 2], [5, 5, 5, 5], 0.0),
        ([1, 1, 1, 1], [1, 1, 2, 2], 0.0),
        ([1, 1, 1, 1], [3, 3, 3, 3], 1.0),
        ([1], [4], 1.0),
    ],
)
def test_ari_equals_values_counted_by_hand(true: list[int], pred: list[int], expected: float) -> None:
    assert adjusted_rand_index_fg(np.array([pred]), np.array([true])) == pytest.approx(expected)


@given(
    arrays(np.int64, (6, 7), elements=st.integers(0, 3)),
    arrays(np.int64, (6, 7), elements=st.integers(0, 4)),
    st.permutations(range(5)),
)
def test_ari_ignores_label_names_and_the_true_background(true: Any, pred: Any, names: list[int]) -> None:
    score = adjusted_rand_index_fg(pred, true)
    renamed = np.where(true == 0, 99, np.asarray(names)[pred])
    np.testing.assert_allclose(adjusted_rand_index_fg(renamed, true), score)
    assert math.isnan(score) == (not true.any())


def test_iou_counts_and_leaves_out_what_the_truth_does_not_show() -> None:
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[:2], b[1:3] = True, True
    assert mask_iou(a, b) == pytest.approx(4 / 12)
    assert mask_iou(np.zeros_like(a), b) == 0
    assert math.isnan(mask_iou(a & ~a, b & ~b))
    assert mean_iou([a, b, a], [b, b, np.zeros_like(b)]) == pytest.approx((4 / 12 + 1) / 2)
    assert math.isnan(mean_iou([a], [np.zeros_like(a)]))


def test_trivial_masks_do_what_their_names_say() -> None:
    entities = np.arange(3)[:, None, None] == np.arange(8)[None, :, None].repeat(10, 2) % 3
    masks = trivial_masks(entities, 0.5, np.random.default_rng(0))
    assert masks["whole_frame"].all()
    assert masks["centre_box"].sum() == 4 * 6  # 10 * 0.25 rounds to 2: 6 columns stay
    assert masks["centre_box"][2:6, 2:8].all()
    assert any(np.array_equal(masks["random_entity"], entity) for entity in entities)
