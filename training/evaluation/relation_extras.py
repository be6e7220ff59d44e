"""Evidence of contact that the node does without, measured beside what it uses: attention and joint motion.

Shapes: `K` pairs, `N` tracks that are seen, `E` slots, `T` frames of a window, `h, w` mask grid.
"""

from __future__ import annotations

import numpy as np

from henasy_stream.stream.entities import soft_iou
from henasy_stream.stream.relation_evidence import Float64Array, Pairs, Sight, tip
from henasy_stream.stream.tracks import TrackBook
from henasy_stream.types import FloatArray, Masks, NetworkOutput

ATTENTION = ("hand to thing", "thing to hand")
MOTION = ("against each other", "of the thing", "of the hand", "together")
_LEAST = 1e-4


def attention_evidence(sight: Sight, pairs: Pairs, output: NetworkOutput, masks: Masks) -> Float64Array:
    """(K, 2) logarithms of the decoder's self-attention between the slots of a pair, 0 for even attention."""
    if output.entity_attention is None or output.entity_probability is None or not len(pairs.ids):
        return np.zeros((len(pairs.ids), len(ATTENTION)))
    slots = np.moveaxis(output.entity_probability[-1], -1, 0)
    slot_of = soft_iou(masks.probability, slots).argmax(1)
    hand, thing = (slot_of[_rows(sight, pairs.ids[:, side])] for side in (0, 1))
    even = 1 / len(output.entity_attention)
    attention = np.log(np.maximum(output.entity_attention / even, _LEAST)).astype(np.float64)
    return np.stack([attention[hand, thing], attention[thing, hand]], 1)


def motion_evidence(sight: Sight, pairs: Pairs, book: TrackBook) -> Float64Array:
    """(K, 4) mean steps from frame to frame within the window, in shares of the picture.

    The hand's tip moves against the thing's middle; the thing, and the hand's tip, against what else is seen, which
    takes the camera's motion out; and how much less the two move against each other than against the rest.
    """
    rows = [int(np.nonzero(book.ids == track)[0][-1]) for track in sight.ids]
    paths = [_path(book.masks[row], hand) for row, hand in zip(rows, sight.hand, strict=True)]
    steps = [np.diff(path, axis=0) for path in paths]  # N times (T-1, 2)
    found = []
    for hand, thing in zip(*(_rows(sight, pairs.ids[:, side]) for side in (0, 1)), strict=True):
        others = [k for k in np.nonzero(~sight.hand)[0] if k != thing]
        still = np.median([steps[k] for k in others], 0) if others else np.zeros_like(steps[0])
        moved = [_mean_step(path) for path in (steps[hand] - steps[thing], steps[thing] - still, steps[hand] - still)]
        found.append([*moved, min(moved[1:]) - moved[0]])
    return np.array(found, np.float64).reshape(-1, len(MOTION))


def _rows(sight: Sight, ids: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return (ids[:, None] == sight.ids).argmax(1)


def _path(masks: FloatArray, hand: bool) -> Float64Array:
    """(T, 2) where a thing's middle or a hand's tip is in each frame of the window (T, h, w)."""
    return np.array([tip(mask) if hand else _middle(mask) for mask in masks])


def _middle(mask: FloatArray) -> Float64Array:
    height, width = mask.shape
    y, x = np.mgrid[:height, :width] + 0.5
    total = max(float(mask.sum()), 1e-9)
    return np.array([(mask * x).sum() / total / width, (mask * y).sum() / total / height])


def _mean_step(path: Float64Array) -> float:
    return float(np.linalg.norm(path, axis=-1).mean()) if len(path) else 0.0
