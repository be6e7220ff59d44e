"""Texts of similar length run together, none longer than it is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]

MOST = 256


def by_length(tokens: Int64Array) -> Iterator[tuple[npt.NDArray[np.intp], Int64Array]]:
    """Batches of at most MOST rows of (N, L) tokens, cut behind the last end token: their places and they."""
    end = tokens.argmax(1)  # the end token is the highest id
    order = np.argsort(end, kind="stable")
    for start in range(0, len(order), MOST):
        rows = order[start : start + MOST]
        yield rows, tokens[rows, : int(end[rows].max()) + 1]
