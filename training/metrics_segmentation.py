"""Temporal segmentation of actions: frame accuracy, edit score, F1 at overlaps, flicker.

As in MS-TCN (Abu Farha and Gall, 2019) and TCN (Lea et al., 2017): one label a frame; a segment is a run of equal
labels; segments of background count in neither edit nor F1.  Segments are half-open, so the last frame belongs to the
last segment (some copies of the published code leave it out).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

LabelArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Frames `start` to `end` (half-open) of one label."""

    label: int
    start: int
    end: int


def runs(labels: LabelArray, background: Collection[int] = ()) -> list[Run]:
    """The segments of a label sequence (N,), in order, without those of `background`."""
    edges = np.flatnonzero(np.diff(labels)) + 1
    found = pairwise([0, *edges.tolist(), len(labels)]) if len(labels) else []
    return [Run(label=int(labels[a]), start=a, end=b) for a, b in found if int(labels[a]) not in background]


def frame_accuracy(predicted: LabelArray, truth: LabelArray, background: Collection[int] = ()) -> float:
    """Share of the frames, those whose truth is background left out, that carry the right label; NaN without any."""
    counted = ~np.isin(truth, list(background))
    return float((predicted == truth)[counted].mean()) if counted.any() else float("nan")


def edit_score(predicted: Sequence[Run], truth: Sequence[Run]) -> float:
    """1 - edit distance of the two sequences of labels / length of the longer one; lengths in time do not count."""
    if not predicted and not truth:
        return 1.0
    wanted = np.array([run.label for run in truth])
    row = np.arange(len(wanted) + 1)
    for place, run in enumerate(predicted, 1):
        swapped = row[:-1] + (wanted != run.label)
        changed = np.concatenate([[place], np.minimum(swapped, row[1:] + 1)])
        # Insertions go along the row: each costs one more than its left neighbour.
        row = np.minimum.accumulate(changed - np.arange(len(changed))) + np.arange(len(changed))
    return 1.0 - float(row[-1]) / max(len(predicted), len(truth))


@dataclass(frozen=True, kw_only=True, slots=True)
class Hits:
    """Segments found, found wrongly, and missed; sums over streams are made before F1 is."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    def __add__(self, other: Hits) -> Hits:
        return Hits(right=self.right + other.right, wrong=self.wrong + other.wrong, missed=self.missed + other.missed)

    @property
    def f1(self) -> float:
        """0 when nothing is right."""
        return 2 * self.right / (2 * self.right + self.wrong + self.missed) if self.right else 0.0


def hits(predicted: Sequence[Run], truth: Sequence[Run], overlap: float) -> Hits:
    """A predicted segment is right when the true segment of its label that it overlaps best reaches IoU `overlap` and
    was not found before; each true segment is found once at most.
    """
    free = [True] * len(truth)
    right = 0
    for run in predicted:
        ious = [_iou(run, other) if other.label == run.label else 0.0 for other in truth]
        best = int(np.argmax(ious)) if ious else -1
        if best >= 0 and ious[best] >= overlap and free[best]:
            free[best] = False
            right += 1
    return Hits(right=right, wrong=len(predicted) - right, missed=sum(free))


def flicker(predicted: LabelArray, truth: LabelArray, seconds: float) -> float:
    """Changes of label a minute beyond those of the truth, where a stretch of the truth without an action is no change
    of its own; below 0 when actions were passed over.
    """
    labels = truth[truth >= 0]
    return (_changes(predicted) - _changes(labels)) / seconds * 60


def _changes(labels: LabelArray) -> int:
    return int(np.count_nonzero(np.diff(labels)))


def _iou(a: Run, b: Run) -> float:
    shared = min(a.end, b.end) - max(a.start, b.start)
    return shared / (max(a.end, b.end) - min(a.start, b.start)) if shared > 0 else 0.0
