from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics_retrieval import discounted_gains, retrieval_map, retrieval_ndcg

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = list(json.loads((GOLDEN / "ek100_mir_metric.json").read_text()))
VECTORS = np.load(GOLDEN / "ek100_mir_metric.npz")


@pytest.mark.parametrize("case", CASES)
def test_equals_the_official_functions(case):
    suffix = "_stable" if case == "ties" else ""
    similarity, relevance = VECTORS[f"{case}_sim"], VECTORS[f"{case}_rel"]
    np.testing.assert_allclose(
        retrieval_map(similarity, relevance), VECTORS[f"{case}_map_v2t_t2v_avg{suffix}"], atol=1e-12
    )
    np.testing.assert_allclose(
        retrieval_ndcg(similarity, relevance), VECTORS[f"{case}_ndcg_v2t_t2v_avg{suffix}"], atol=1e-12
    )


@pytest.mark.parametrize("case", [c for c in CASES if c not in ("ties", "all_equal")])
def test_gains_per_video(case):
    dcg, ideal = discounted_gains(VECTORS[f"{case}_sim"], VECTORS[f"{case}_rel"])
    np.testing.assert_allclose(dcg, VECTORS[f"{case}_dcg_v"], atol=1e-12)
    np.testing.assert_allclose(ideal, VECTORS[f"{case}_idcg_v"], atol=1e-12)


def test_many_rows_are_scored_like_few():
    rng = np.random.default_rng(0)
    similarity, relevance = rng.random((1500, 3)), np.tile([1.0, 0.5, 0.0], (1500, 1))
    parts = [retrieval_map(similarity[i : i + 500], relevance[i : i + 500]).v2t for i in (0, 500, 1000)]
    assert retrieval_map(similarity, relevance).v2t == pytest.approx(np.mean(parts), abs=1e-12)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="expected two"):
        retrieval_map(np.zeros((3, 4)), np.zeros((4, 3)))


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10), st.floats(-5, 5))
def test_only_the_order_counts(seed, scale, shift):
    rng = np.random.default_rng(seed)
    similarity = rng.permutation(30).reshape(5, 6) / 30
    relevance = np.maximum(rng.choice([0, 0.5, 1], (5, 6)), np.eye(5, 6))
    relevance[0] = 1
    assert retrieval_map(similarity * scale + shift, relevance) == retrieval_map(similarity, relevance)
    assert retrieval_ndcg(similarity * scale + shift, relevance) == retrieval_ndcg(similarity, relevance)
