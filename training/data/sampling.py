"""Which frames stand for a clip.  Frame ids count from the start of the file that the clip starts in.

Three published ways to turn seconds into a stretch of frames, `SPANS`, and two to draw T frames from a stretch,
`lavila_ids` and `egovlp_ids`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Rule = Literal["lavila", "epic", "egovlp"]


def lavila_ids(first: int, end: int, count: int, rng: np.random.Generator | None = None) -> Ids:
    """(count,) ids: the middle of each of `count` equal parts of [first, end), or a random one of each (LaViLa).

    Args:
        first: first frame.
        end: one past the last frame.
        count: T.
        rng: draws within the parts, as LaViLa does in training; without it the middle is taken.

    Returns:
        A stretch shorter than `count` repeats some and may leave its bounds by one: clamp.
    """
    bounds = np.round((end - first - 1) / count * np.arange(count + 1)).astype(np.int64) + first
    low, high = bounds[:-1], np.minimum(bounds[1:], end)
    if rng is None:
        return np.asarray((low + high) // 2, np.int64)
    return rng.integers(np.minimum(low, high), high, endpoint=True)


def egovlp_ids(first: int, end: int, count: int) -> Ids:
    """(count,) ids as EgoVLP samples uniformly; a stretch that ends before frame `count` repeats its last id."""
    parts = max(min(count, end), 1)
    bounds = np.linspace(first, end, parts + 1).astype(np.int64)
    ids = (bounds[:-1] + bounds[1:] - 1) // 2
    return np.asarray(np.concatenate([ids, np.full(count - parts, ids[-1])]), np.int64)


def lavila_span(start_s: float, end_s: float, origin_s: float, fps: float, count: int) -> tuple[int, int]:
    """First frame and one past the last: the start is rounded, the length cut, and at least `count` (LaViLa)."""
    first = int(np.round((start_s - origin_s) * fps))
    return first, first + max(int((end_s - start_s) * fps), count)


def epic_span(start_s: float, end_s: float, origin_s: float, fps: float, count: int) -> tuple[int, int]:
    """First frame and one past the last: the start is rounded, the end rounded up (LaViLa on EPIC-KITCHENS-100)."""
    origin = round(origin_s * fps)
    return int(np.round(start_s * fps)) - origin, math.ceil(end_s * fps) - origin


def egovlp_span(start_s: float, end_s: float, origin_s: float, fps: float, count: int) -> tuple[int, int]:
    """First frame and one past the last, both cut (EgoVLP)."""
    origin = round(origin_s * fps)
    return int(start_s * fps) - origin, int(end_s * fps) - origin


SPANS: dict[Rule, Callable[[float, float, float, float, int], tuple[int, int]]] = {
    "lavila": lavila_span,
    "epic": epic_span,
    "egovlp": egovlp_span,
}
"""From (start, end, origin of the file, frames a second, T); the first three in seconds of the whole video."""


def sample(rule: Rule, first: int, end: int, count: int, rng: np.random.Generator | None = None) -> Ids:
    """(count,) ids of the stretch [first, end) by a published rule; `rng` draws at random where the rule can."""
    return egovlp_ids(first, end, count) if rule == "egovlp" else lavila_ids(first, end, count, rng)


def dense_views(frames: int, *, views: int = 10, length: int = 16, stride: int = 2) -> Ids:
    """(views, length) ids of evenly spaced dense clips over a whole file (LaViLa on EGTEA).

    A file shorter than length × stride gives the same view `views` times, and holds its last frame where LaViLa puts
    black ones.
    """
    starts = np.linspace(0, max(frames - length * stride, 0), views).astype(np.int64)
    return np.minimum(starts[:, None] + stride * np.arange(length), frames - 1)
