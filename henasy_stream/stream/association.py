"""Which detection continues which track: a pure function of what both look like.

Slots behave like roles, so the slot index says nothing; the evidence is where an entity is in the frames that two
neighbouring windows share, how far it is from where it should have moved to and from where it mostly is, what it looks
like and what it is called.

Shapes: `M` tracks, `N` detections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from henasy_stream.stream.entities import Detections, soft_iou
from henasy_stream.types import FloatArray

if TYPE_CHECKING:
    from henasy_stream.stream.tracks import TrackBook

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
IntpArray = npt.NDArray[np.intp]

_COAST_S = 1.0  # constant velocity says nothing about a longer time


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Evidence:
    """Terms in 0..1 of (M, N) pairs.

    mask: overlap, NaN for pairs without a shared frame.  place: how near to where the track should be; home: how near
    to where it mostly is.  age_s: (M,) seconds since the track was last seen.
    """

    mask: FloatArray
    place: FloatArray
    home: FloatArray
    appearance: FloatArray
    label: FloatArray
    age_s: Float64Array


@dataclass(frozen=True, kw_only=True, slots=True)
class Affinity:
    """How the evidence is weighted.

    An affinity is the mean of the terms that there are, weighted by the fields of the same names.  With every `fade_s`
    that a track has not been seen, half of what is left of the weight of its place goes over to its home.  A pair below
    `least_shared`, or `least_apart` where two windows share no frame (a lost track, a model too slow, a causal one), is
    never matched; nor is one that shares no frame and whose appearance and label are alike by less than `least_alike`
    on average: that is another thing in the same place.  `reach`: distance at which two places have 1/e in common, in
    sizes of the boxes.
    """

    mask: float = 0.35
    place: float = 0.60
    appearance: float = 0.25
    label: float = 0.20
    fade_s: float = 2.0
    reach: float = 1.2
    least_shared: float = 0.40
    least_apart: float = 0.42
    least_alike: float = 0.40

    def combine(self, evidence: Evidence) -> FloatArray:
        """(M, N) affinities in 0..1, and 0 for a pair that must not be matched."""
        apart = np.isnan(evidence.mask)
        mask = np.where(apart, 0.0, self.mask)
        fresh = 0.5 ** (evidence.age_s / self.fade_s)[:, None]
        total = mask * np.nan_to_num(evidence.mask)
        total = total + self.place * (fresh * evidence.place + (1.0 - fresh) * evidence.home)
        total = total + self.appearance * evidence.appearance + self.label * evidence.label
        affinity = total / (mask + self.place + self.appearance + self.label)
        possible = affinity >= np.where(apart, self.least_apart, self.least_shared)
        possible &= ~apart | (evidence.appearance + evidence.label >= 2 * self.least_alike)
        result: FloatArray = np.where(possible, affinity, 0.0).astype(np.float32)
        return result


def gather(
    book: TrackBook, rows: IntpArray, labels: FloatArray, detections: Detections, stamps: Int64Array, reach: float
) -> Evidence:
    """What speaks for each detection of a window to continue each of the book's `rows` (M,).

    Args:
        book: until now.
        rows: which of it.
        labels: (M, L), probability of the labels of each row.
        detections: of the window.
        stamps: (T,), of the window's samples.
        reach: see `Affinity`.
    """
    age_s = (int(stamps[-1]) - book.last_ns[rows]) / 1e9
    predicted = book.boxes[rows] + book.velocity[rows] * np.minimum(age_s, _COAST_S)[:, None]
    sizes = box_sizes(book.boxes[rows])
    appearance = np.clip(book.embedding[rows] @ detections.embeddings.T, 0.0, 1.0)
    return Evidence(
        mask=shared_mask_iou(book.masks[rows], book.mask_stamps[rows], detections.masks, stamps),
        place=nearness(middles(predicted), sizes, detections.boxes, reach),
        home=nearness(book.home[rows], sizes, detections.boxes, reach),
        appearance=appearance,
        label=np.sqrt(labels) @ np.sqrt(detections.labels).T if labels.shape[1] else appearance,
        age_s=age_s,
    )


def shared_mask_iou(
    track_masks: FloatArray, track_stamps: Int64Array, masks: FloatArray, stamps: Int64Array
) -> FloatArray:
    """(M, N) soft IoU over the frames that a track's last window and the new one have in common.

    Probabilities are squared first: what a slot claims faintly all over the picture would else outweigh small things.

    Args:
        track_masks: (M, T, h, w), masks of each track in the window in which it was last seen.
        track_stamps: (M, T), the stamps of that window's samples.
        masks: (N, T, h, w), masks of the new window.
        stamps: (T,), its stamps.

    Returns:
        NaN for a track that shares no frame with the new window.
    """
    result = np.full((len(track_masks), len(masks)), np.nan, np.float32)
    seen_together: dict[bytes, list[int]] = {}
    for row, window in enumerate(track_stamps):
        seen_together.setdefault(window.tobytes(), []).append(row)
    for rows in seen_together.values():
        common, old, new = np.intersect1d(track_stamps[rows[0]], stamps, return_indices=True)
        if len(common):
            result[rows] = soft_iou(track_masks[rows][:, old] ** 2, masks[:, new] ** 2)
    return result


def nearness(points: Float64Array, sizes: Float64Array, boxes: Float64Array, reach: float) -> FloatArray:
    """(M, N) how near the middles of boxes (N, 4) are to points (M, 2) of things of some sizes (M,), in pixels.

    1 in the same place, 1/e `reach` sizes apart.  A small thing that moves fast shares nothing with its prediction, but
    it is still the nearest.
    """
    distance = np.linalg.norm(points[:, None] - middles(boxes)[None], axis=-1)
    size = np.sqrt(sizes[:, None] * box_sizes(boxes)[None])
    result: FloatArray = np.exp(-distance / np.maximum(reach * size, 1e-6)).astype(np.float32)
    return result


def middles(boxes: Float64Array) -> Float64Array:
    """(N, 2) of boxes (N, 4)."""
    return 0.5 * (boxes[:, :2] + boxes[:, 2:])


def box_sizes(boxes: Float64Array) -> Float64Array:
    """(N,) the side of a square as large as each box (N, 4)."""
    result: Float64Array = np.sqrt(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0).prod(-1))
    return result


def associate(affinity: FloatArray, least: float = 1e-6) -> tuple[IntpArray, IntpArray]:
    """One-to-one pairs (tracks, detections) of largest total affinity (M, N), none below `least`.

    A rejected pair is forbidden before the assignment is solved, so it never displaces an acceptable one.
    """
    allowed = affinity >= least
    cost = np.where(allowed, 1.0 - affinity, 1e3).astype(np.float64)
    rows, columns = linear_sum_assignment(cost)
    chosen = allowed[rows, columns]
    return rows[chosen].astype(np.intp), columns[chosen].astype(np.intp)
