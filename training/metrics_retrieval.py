"""EPIC-KITCHENS-100 multi-instance retrieval: mAP and nDCG over graded relevance.

Rows of both matrices are videos, columns are texts: V videos, Q texts.  Similarities that tie are ordered as the
official functions order them with a stable sort; NumPy's default sort, which those use, differs between machines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Score = Callable[[Matrix, Matrix], Matrix]
_BLOCK = 1024


class BothWays(NamedTuple):
    """A score with videos as queries, with texts as queries, and the mean of the two."""

    v2t: float
    t2v: float
    avg: float


def retrieval_map(similarity: npt.ArrayLike, relevance: npt.ArrayLike) -> BothWays:
    """Mean average precision as EK-100 counts it.

    A hit is an item of relevance exactly 1, yet the precision at a hit is the cumulative *graded* relevance over the
    rank, so partly relevant items that rank high raise it.

    Args:
        similarity: (V, Q).
        relevance: (V, Q) in 0..1.

    Returns:
        Fractions in 0..1; NaN as soon as one query has no item of relevance 1.

    Raises:
        ValueError: matrices of different shape.
    """
    similarity, relevance = _matrices(similarity, relevance)
    return _both_ways(_average_precision, similarity, relevance)


def retrieval_ndcg(similarity: npt.ArrayLike, relevance: npt.ArrayLike) -> BothWays:
    """Mean normalised discounted cumulative gain as EK-100 counts it; arguments and errors of `retrieval_map`.

    Only the first k ranks count, k being the number of items of the query with any relevance.  NaN as soon as one
    query has none.
    """
    similarity, relevance = _matrices(similarity, relevance)
    return _both_ways(_ndcg, similarity, relevance)


def discounted_gains(similarity: npt.ArrayLike, relevance: npt.ArrayLike) -> tuple[Matrix, Matrix]:
    """(V,) DCG of each row as it was ranked, and (V,) DCG of its ideal order; nDCG is their quotient."""
    similarity, relevance = _matrices(similarity, relevance)
    ranks = np.arange(1, relevance.shape[1] + 1)
    kept = ranks <= np.count_nonzero(relevance, axis=1)[:, None]
    weights = kept / np.log2(ranks + 1)
    order = np.argsort(similarity, axis=1, kind="stable")[:, ::-1]  # of equal ones the last comes first
    ranked = np.take_along_axis(relevance, order, 1)
    ideal = np.sort(relevance, axis=1)[:, ::-1]
    return (ranked * weights).sum(1), (ideal * weights).sum(1)


def _matrices(similarity: npt.ArrayLike, relevance: npt.ArrayLike) -> tuple[Matrix, Matrix]:
    similarity, relevance = np.asarray(similarity, np.float64), np.asarray(relevance, np.float64)
    if similarity.ndim != 2 or similarity.shape != relevance.shape:
        raise ValueError(f"similarity {similarity.shape} and relevance {relevance.shape}: expected two (V, Q)")
    return similarity, relevance


def _both_ways(score: Score, similarity: Matrix, relevance: Matrix) -> BothWays:
    v2t, t2v = _mean(score, similarity, relevance), _mean(score, similarity.T, relevance.T)
    return BothWays(v2t, t2v, (v2t + t2v) / 2)


def _mean(score: Score, similarity: Matrix, relevance: Matrix) -> float:
    """Over all rows, a block at a time: the test set's matrices are 9,668 x 3,842."""
    starts = range(0, len(similarity), _BLOCK)
    rows = [score(similarity[i : i + _BLOCK], relevance[i : i + _BLOCK]) for i in starts]
    return float(np.concatenate(rows).mean()) if rows else float("nan")


def _average_precision(similarity: Matrix, relevance: Matrix) -> Matrix:
    order = np.argsort(-similarity, axis=1, kind="stable")
    ranked = np.take_along_axis(relevance, order, 1)
    precision = ranked.cumsum(1) / np.arange(1, ranked.shape[1] + 1)
    hits = ranked == 1
    return _divide((precision * hits).sum(1), hits.sum(1))


def _ndcg(similarity: Matrix, relevance: Matrix) -> Matrix:
    return _divide(*discounted_gains(similarity, relevance))


def _divide(total: Matrix, by: npt.NDArray[np.int64] | Matrix) -> Matrix:
    with np.errstate(invalid="ignore"):
        return np.asarray(total / by, np.float64)
