from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics_classification import charades_map, marginalise, mean_class_accuracy, top_k_accuracy

VECTORS = np.load(Path(__file__).parents[1] / "golden" / "cls_metric.npz")
CASES = ("random12", "missing_classes20", "ties8", "predicted_class_absent_in_truth")


@pytest.mark.parametrize("case", CASES)
def test_mean_class_accuracy_equals_the_official_one(case):
    logits, targets = VECTORS[f"{case}_logits"], VECTORS[f"{case}_targets"]
    mean_class, top1 = VECTORS[f"{case}_meanclass_top1_percent"]
    assert mean_class_accuracy(logits, targets) == pytest.approx(mean_class, abs=1e-4)
    assert top_k_accuracy(logits, targets, (1,))[0] == pytest.approx(top1, abs=1e-4)


@pytest.mark.parametrize("case", [c for c in CASES if c != "ties8"])
def test_top_k_equals_the_official_one(case):
    scores = top_k_accuracy(VECTORS[f"{case}_logits"], VECTORS[f"{case}_targets"])
    np.testing.assert_allclose(scores, VECTORS[f"{case}_top1_top5_percent"], atol=1e-4)


def test_a_class_predicted_but_never_true_lowers_the_mean():
    targets = [0, 0, 1, 1]
    assert mean_class_accuracy(np.eye(3)[[0, 0, 1, 1]], targets) == 100
    assert mean_class_accuracy(np.eye(3)[[0, 0, 1, 2]], targets) == pytest.approx((100 + 50 + 0) / 3)


def test_actions_marginalise_to_verbs_and_nouns():
    verbs, nouns = marginalise(VECTORS["marginal_probs"], VECTORS["marginal_actions_verb_noun"])
    np.testing.assert_allclose(verbs, VECTORS["marginal_verb_scores"], atol=1e-6)
    np.testing.assert_allclose(nouns, VECTORS["marginal_noun_scores"], atol=1e-6)


def test_charades_map_equals_the_official_one():
    mean, per_class = charades_map(VECTORS["charades_submission"], VECTORS["charades_gt"])
    np.testing.assert_allclose(per_class, VECTORS["charades_ap_per_class"], atol=1e-12)
    assert mean == pytest.approx(VECTORS["charades_map"][0], abs=1e-12)
    truth = VECTORS["charades_gt"]
    np.testing.assert_allclose(per_class * truth.sum(0) / truth.sum(), VECTORS["charades_weighted_ap"], atol=1e-12)


def test_a_class_without_positives_is_nan():
    mean, per_class = charades_map([[0.1, 0.2], [0.3, 0.4]], [[1, 0], [0, 0]])
    assert np.isnan(per_class).tolist() == [False, True]
    assert np.isnan(mean)


@pytest.mark.parametrize("targets", [[0, 3], [-1, 0], [0]])
def test_targets_must_be_classes(targets):
    with pytest.raises(ValueError, match="expected"):
        top_k_accuracy(np.zeros((2, 3)), targets)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_top_k_grows_to_all(seed, classes):
    rng = np.random.default_rng(seed)
    scores = top_k_accuracy(rng.random((9, classes)), rng.integers(classes, size=9), range(1, classes + 1))
    assert list(scores) == sorted(scores)
    assert scores[-1] == 100
