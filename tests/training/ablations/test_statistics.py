"""Numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from training.ablations.statistics import pairs_of_rows, rank_correlation, spread_of_rows


def test_what_a_seed_does_to_all_rows_is_no_noise() -> None:
    rows, seeds = np.array([50.0, 60.0, 75.0]), np.array([-4.0, 4.0])
    assert spread_of_rows(rows[:, None] + seeds).margin == pytest.approx(0.0, abs=1e-9)


def test_noise_of_two_rows_and_two_seeds() -> None:
    # residuals ±1 in all four cells, one degree of freedom: deviation 2, margin t(0.975, 1) · 2 · sqrt(2/2)
    spread = spread_of_rows(np.array([[11.0, 9.0], [19.0, 21.0]]))
    assert spread.residual == pytest.approx(2.0)
    assert spread.margin == pytest.approx(2 * 12.706, rel=1e-4)


def test_margin_holds_what_it_promises() -> None:
    """Rows that do not differ are told apart in about one pair of twenty."""
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(300):
        scores = rng.normal(size=(9, 2)) + rng.normal(size=(1, 2)) * 5
        margin = spread_of_rows(scores).margin
        hits += [pair.told_apart for pair in pairs_of_rows(scores.mean(1), np.arange(9.0), margin)]
    assert 0.03 < np.mean(hits) < 0.08


def test_pairs_compare_with_the_paper() -> None:
    pairs = pairs_of_rows(np.array([10.0, 20.0, 20.5]), np.array([1.0, 3.0, 2.0]), 1.0)
    assert [(p.first, p.second, p.told_apart, p.agrees) for p in pairs] == [
        (0, 1, True, True),
        (0, 2, True, True),
        (1, 2, False, False),
    ]


def test_one_seed_has_no_spread() -> None:
    with pytest.raises(ValueError, match="two of each"):
        spread_of_rows(np.zeros((9, 1)))


def test_rank_correlation() -> None:
    found = rank_correlation([1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 40.0, 30.0])
    assert found.spearman == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert found.kendall == pytest.approx((5 - 1) / 6)
    assert found.p == pytest.approx(stats.kendalltau([1, 2, 3, 4], [1, 2, 4, 3]).pvalue)
    assert not math.isnan(found.p)
