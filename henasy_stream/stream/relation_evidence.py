"""Evidence of relations in one hop: how hands and things lie to each other.

Shapes: `N` tracks that are seen now, `K` pairs, `h, w` mask grid.  Places are in shares of the grid, x right, y down,
upright as the model sees them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from henasy_stream.preprocess import transform_boxes
from henasy_stream.types import FloatArray, Masks, Track

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

CONTACT_EVIDENCE = ("reach", "nearest by reach", "gap", "nearest by gap", "overlap", "size")

_HAND = re.compile(r"\bhands?\b", re.IGNORECASE)
_OUT, _IN = 0.25, 0.75  # shares of a mask's peak up to which a cell does not count and from which it counts fully
_TIP = 0.2  # share of a hand's mask that counts as its tip


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sight:
    """What a hop shows.  ids: (N,).  hand: (N,) bool.  tips: (N, 2) of hands, 0 for things.  boxes: (N, 4)."""

    ids: Int64Array
    hand: npt.NDArray[np.bool_]
    tips: Float64Array
    boxes: Float64Array


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pairs:
    """ids: (K, 2) of subject and object.  evidence: (K, F)."""

    ids: Int64Array
    evidence: Float64Array


def look(tracks: tuple[Track, ...], masks: Masks) -> Sight:
    """The tracks that have a mask now."""
    seen = [track for track in tracks if track.mask_index is not None]
    height, width = masks.probability.shape[1:]
    boxes = np.array([track.box_xyxy for track in seen], np.float64).reshape(-1, 4)
    to_grid = cv2.invertAffineTransform(masks.to_source).astype(np.float64)
    hand = np.array([is_hand(track) for track in seen], bool)
    tips = np.zeros((len(seen), 2))
    for row in np.nonzero(hand)[0]:
        tips[row] = tip(masks.probability[(seen[row].mask_index or 0) - 1])
    return Sight(
        ids=np.array([track.id for track in seen], np.int64),
        hand=hand,
        tips=tips,
        boxes=transform_boxes(to_grid, boxes) / (width, height, width, height),
    )


def is_hand(track: Track) -> bool:
    """Whether the track is a hand by its own name: a user's query may speak of a hand and mean a thing."""
    return bool(_HAND.search(track.hypotheses[0].label if track.hypotheses else track.label))


def tip(mask: FloatArray) -> Float64Array:
    """(x, y) of the middle of the uppermost fifth of a soft mask (h, w): arms come in from below."""
    height, width = mask.shape
    peak = max(float(mask.max()), 1e-6)
    inside = np.clip((mask.astype(np.float64) / peak - _OUT) / (_IN - _OUT), 0, 1)
    rows = np.cumsum(inside.sum(1))
    upper = inside[: int(np.searchsorted(rows, _TIP * rows[-1])) + 1]
    y, x = np.mgrid[: len(upper), :width] + 0.5
    total = max(float(upper.sum()), 1e-9)
    return np.array([(upper * x).sum() / total / width, (upper * y).sum() / total / height])


def contact_evidence(sight: Sight) -> Pairs:
    """Every hand with every thing, `CONTACT_EVIDENCE`.

    reach: from the hand's tip to the middle of the thing's box, relative to the root of the box's area.  gap: from the
    middle of the upper edge of the hand's box to the thing's box.  nearest by …: 1 when no other thing is nearer.
    overlap: of the boxes, relative to the smaller one.  size: logarithm of the thing's share of the picture.
    """
    hands, things = np.nonzero(sight.hand)[0], np.nonzero(~sight.hand)[0]
    boxes = sight.boxes[things]
    if not len(hands) or not len(things):
        return Pairs(ids=np.zeros((0, 2), np.int64), evidence=np.zeros((0, len(CONTACT_EVIDENCE))))
    area = _area(boxes)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    reach = np.linalg.norm(sight.tips[hands, None] - middle, axis=-1) / np.sqrt(area)
    held = sight.boxes[hands]
    top = np.stack([(held[:, 0] + held[:, 2]) / 2, held[:, 1]], 1)[:, None]
    gap = np.linalg.norm(np.maximum(np.maximum(boxes[:, :2] - top, top - boxes[:, 2:]), 0.0), axis=-1)
    columns = (
        reach,
        reach <= reach.min(1, keepdims=True),
        gap,
        gap <= gap.min(1, keepdims=True),
        _shared(held, boxes) / np.minimum(_area(held)[:, None], area),
        np.broadcast_to(np.log(area), reach.shape),
    )
    pairs = np.stack(np.broadcast_arrays(sight.ids[hands][:, None], sight.ids[things]), -1)
    return Pairs(
        ids=pairs.reshape(-1, 2), evidence=np.stack(columns, -1).astype(np.float64).reshape(-1, len(CONTACT_EVIDENCE))
    )


def _area(boxes: Float64Array) -> Float64Array:
    area: Float64Array = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-3).prod(1)
    return area


def _shared(first: Float64Array, second: Float64Array) -> Float64Array:
    """(N, M) area that both boxes cover."""
    low = np.maximum(first[:, None, :2], second[:, :2])
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    shared: Float64Array = np.maximum(high - low, 0.0).prod(-1)
    return shared
