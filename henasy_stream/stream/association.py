"""Which detection continues which track: a pure function of what both look like.

Slots behave like roles, so the slot index says nothing; the evidence is where an entity is in the frames that two
neighbouring windows share, where it should have moved to, what it looks like and what it is called.

Shapes: `M` tracks, `N` detections.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from henasy_stream.stream.entities import soft_iou
from henasy_stream.types import FloatArray

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
IntpArray = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, slots=True)
class Affinity:
    """How the evidence is weighted.

    `shared`: weights of mask, motion, appearance and label, summing to 1, where two windows share a frame.  `apart`:
    weights of motion, appearance and label where they share none (a lost track, a model too slow): what a thing is then
    counts more than where it was.  A pair whose affinity is below `least_shared` or `least_apart` is never matched.
    """

    shared: tuple[float, float, float, float] = (0.55, 0.15, 0.20, 0.10)
    apart: tuple[float, float, float] = (0.15, 0.50, 0.35)
    least_shared: float = 0.40
    least_apart: float = 0.50

    def combine(self, mask: FloatArray, motion: FloatArray, appearance: FloatArray, label: FloatArray) -> FloatArray:
        """(M, N) affinities in 0..1 from (M, N) terms in 0..1, and 0 for a pair that must not be matched.

        NaN in `mask` marks pairs without a shared frame.
        """
        a, b, c, d = self.shared
        e, f, g = self.apart
        near = a * mask + b * motion + c * appearance + d * label
        far = e * motion + f * appearance + g * label
        near = np.where(near >= self.least_shared, near, 0.0)
        far = np.where(far >= self.least_apart, far, 0.0)
        result: FloatArray = np.where(np.isnan(mask), far, near).astype(np.float32)
        return result


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


def motion_iou(predicted: Float64Array, age_s: Float64Array, boxes: Float64Array) -> FloatArray:
    """(M, N) IoU of predicted (M, 4) and detected (N, 4) boxes, both widened by what may have happened in `age_s` (M,).

    The margin is a share of the box: a quarter at once, growing by half a box a second, at most one box; without it
    small things that move fast would share nothing with their prediction.
    """
    margin = np.minimum(0.25 + 0.5 * np.maximum(age_s, 0.0), 1.0)[:, None]
    first, second = _widen(predicted[:, None], margin), _widen(boxes[None], margin)
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    shared = np.maximum(high - low, 0.0).prod(-1)
    union = _area(first) + _area(second) - shared
    result: FloatArray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0).astype(np.float32)
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


def _widen(boxes: Float64Array, margin: Float64Array) -> Float64Array:
    pad = (boxes[..., 2:] - boxes[..., :2]) * margin[..., None]
    result: Float64Array = np.concatenate([boxes[..., :2] - pad, boxes[..., 2:] + pad], -1)
    return result


def _area(boxes: Float64Array) -> Float64Array:
    result: Float64Array = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    return result
