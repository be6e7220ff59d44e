"""What the scores of an ablation say: means and spreads, which rows can be told apart, and whether the order is the
paper's.

Shapes: R rows, S seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Scores = npt.NDArray[np.float64]
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class RowSpread:
    """residual: standard deviation of a run when what its row and its seed do is taken away.  margin: the means of two
    rows that lie further apart than this differ.
    """

    residual: float
    margin: float


def spread_of_rows(scores: Scores) -> RowSpread:
    """Noise of (R, S) scores, all rows with the same seeds.

    A seed draws the towers, which all its rows share, so that it moves them all: what counts is how differently it
    moves them (two-way layout without interaction, R·S runs).  `margin` is Fisher's least significant difference.

    Raises:
        ValueError: fewer than two rows or seeds.
    """
    rows, seeds = scores.shape
    if rows < 2 or seeds < 2:
        raise ValueError(f"{rows} rows of {seeds} seeds have no spread; give two of each at least")
    residual = scores - scores.mean(1, keepdims=True) - scores.mean(0, keepdims=True) + scores.mean()
    freedom = (rows - 1) * (seeds - 1)
    deviation = float(np.sqrt((residual**2).sum() / freedom))
    quantile = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom))
    return RowSpread(residual=deviation, margin=quantile * deviation * float(np.sqrt(2 / seeds)))


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two rows: `gap` of ours, first minus second, that of the paper, and whether ours is more than noise."""

    first: int
    second: int
    gap: float
    paper: float
    told_apart: bool

    @property
    def agrees(self) -> bool:
        """The two orders are the same."""
        return self.gap * self.paper > 0


def pairs_of_rows(means: Scores, paper: Scores, margin: float) -> list[Pair]:
    """All pairs of R rows."""
    return [
        Pair(
            first=a,
            second=b,
            gap=float(means[a] - means[b]),
            paper=float(paper[a] - paper[b]),
            told_apart=bool(abs(means[a] - means[b]) > margin),
        )
        for a, b in itertools.combinations(range(len(means)), 2)
    ]


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """Of two orders.  p: how often independent orders agree or disagree so much, for Kendall's tau."""

    spearman: float
    kendall: float
    p: float


def rank_correlation(ours: Sequence[float] | Scores, paper: Sequence[float] | Scores) -> RankCorrelation:
    """Spearman's rho and Kendall's tau-b of two lists of equal length."""
    kendall = stats.kendalltau(ours, paper)
    return RankCorrelation(
        spearman=float(stats.spearmanr(ours, paper).statistic),
        kendall=float(kendall.statistic),
        p=float(kendall.pvalue),
    )
