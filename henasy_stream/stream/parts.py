"""Where a slot's mask lies in the picture: one place, or two when it shows two things.

A slot stands for a kind of thing rather than for one thing: of two equal cups it shows both, as two separate parts.

Shapes: `T` frames of a window, `h, w` mask grid, `P` parts, largest first.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from henasy_stream.types import FloatArray

Float64Array = npt.NDArray[np.float64]
IntpArray = npt.NDArray[np.intp]

MOST_PARTS = 2
"""Entities that one slot may show."""
LEAST_PEAK = 0.4
"""A slot whose probability nowhere reaches this has no place in the picture."""
SMALLEST_SHARE = 0.001
LARGEST_SHARE = 0.85
"""A mask that fills less of the picture is noise of the upsampling, one that fills more is ground, not an entity."""
PART = 0.35
PART_SHARE = 0.03
"""A second part has at least this share of the first, and of the picture: hands cut crumbs off what they cover."""
_CUT = 0.5  # of its own maximum, where a mask ends
_EXTENT = (cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT)
_FINE = 96  # cells along a side to which masks are upsampled at least, and at least fourfold


def find_parts(masks: FloatArray) -> tuple[Float64Array, FloatArray]:
    """The entities that one slot shows in the newest frame, at most `MOST_PARTS`.

    A part is a connected region of the mask, upsampled bilinearly and cut at half its own maximum, so that its box is
    finer than a cell.

    Args:
        masks: (T, h, w), probability.

    Returns:
        Tight boxes (P, 4) in mask coordinates, and masks shared out among the parts (P, T, h, w).  P is 0 for a mask
        that has no sane place.
    """
    mask = masks[-1]
    h, w = mask.shape
    nothing = np.zeros((0, 4)), np.zeros((0, *masks.shape), np.float32)
    if mask.max() < LEAST_PEAK:
        return nothing
    factor = max(4, -(-_FINE // max(h, w)))
    fine = cv2.resize(mask, (w * factor, h * factor), interpolation=cv2.INTER_LINEAR)
    regions, stats = _regions(fine)
    areas = stats[:, cv2.CC_STAT_AREA]
    if areas.max() < SMALLEST_SHARE * fine.size or areas.sum() > LARGEST_SHARE * fine.size:
        return nothing
    order = np.argsort(-areas, kind="stable")[:MOST_PARTS]
    second = (areas[order] >= PART * areas.max()) & (areas[order] >= PART_SHARE * fine.size)
    order = order[second | (np.arange(len(order)) == 0)]
    left, top, width, height = (stats[order, k] for k in (cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP, *_EXTENT))
    boxes = np.stack([left, top, left + width, top + height], 1) / factor
    if len(order) == 1:
        return boxes, masks[None]
    coarse = regions[factor // 2 :: factor, factor // 2 :: factor]
    return boxes, _share_out(masks, np.stack([coarse == region + 1 for region in order]))


def probability_inside(mask: FloatArray) -> float:
    """The mean over the cells of a mask (h, w) that belong to its entity."""
    return float(mask[mask >= _CUT * mask.max()].mean())


def _regions(mask: FloatArray) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """(h, w) number of the connected region of each cell from 1 on, 0 outside; and their statistics."""
    hard = (mask >= _CUT * mask.max()).astype(np.uint8)
    left, top, width, height = cv2.boundingRect(hard)  # regions of a small thing are found sooner in a small picture
    window = np.s_[top : top + height, left : left + width]
    _, around, stats, _ = cv2.connectedComponentsWithStats(hard[window], connectivity=8)
    regions, stats = np.zeros(mask.shape, np.int32), np.array(stats[1:], np.int32)
    regions[window] = around
    stats[:, cv2.CC_STAT_LEFT] += left
    stats[:, cv2.CC_STAT_TOP] += top
    return regions, stats


def _share_out(masks: FloatArray, parts: npt.NDArray[np.bool_]) -> FloatArray:
    """(P, T, h, w): each cell goes to the part nearest to it, from the newest frame, whose parts are given, backwards.

    In an earlier frame a part is the regions that lie nearest to where it is in the frame after that.
    """
    shared = np.zeros((len(parts), *masks.shape), np.float32)
    numbers = np.arange(len(parts))[:, None, None]
    owner = _nearest(parts)
    for t in range(len(masks) - 1, -1, -1):
        if t < len(masks) - 1 and masks[t].max() >= LEAST_PEAK:
            regions, stats = _regions(masks[t])
            votes = np.stack([np.bincount(regions[owner == p], minlength=len(stats) + 1) for p in range(len(parts))])
            owner = _nearest((votes.argmax(0)[regions] == numbers) & (regions > 0))
        shared[:, t] = masks[t] * (owner == numbers)
    return shared


def _nearest(parts: npt.NDArray[np.bool_]) -> IntpArray:
    """(h, w) the part (P, h, w) that lies nearest to each cell."""
    away = [cv2.distanceTransform((~part).astype(np.uint8), cv2.DIST_L2, 3) for part in parts if part.any()]
    there = np.nonzero(parts.any((1, 2)))[0]
    return there[np.argmin(away, 0)]
