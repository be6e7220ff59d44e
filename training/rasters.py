"""Boxes drawn on a grid of cells."""

from __future__ import annotations

import torch
from torch import Tensor


def _cover(low: Tensor, high: Tensor, cells: int) -> Tensor:
    """Part of each unit cell that the interval low..high covers: (..., cells)."""
    left = torch.arange(cells, dtype=low.dtype, device=low.device)
    return (torch.minimum(high[..., None], left + 1) - torch.maximum(low[..., None], left)).clamp(0, 1)


def box_masks(boxes: Tensor, height: int, width: int) -> Tensor:
    """Fraction of each cell that a box covers.

    Args:
        boxes: (..., 4) x0, y0, x1, y1 in grid units (cell j spans j..j+1).  NaN marks an absent box.
        height: rows of the grid.
        width: columns of the grid.

    Returns:
        (..., height, width) in 0..1; all zero for an absent or an inverted box.
    """
    x0, y0, x1, y1 = boxes.float().nan_to_num(0.0).unbind(-1)
    present = boxes.isfinite().all(-1)[..., None, None]
    return _cover(y0, y1, height)[..., :, None] * _cover(x0, x1, width)[..., None, :] * present


def box_fill(boxes: Tensor, height: int, width: int, stride: int = 1) -> Tensor:
    """BoxInst's hard fill: rows int(y0) .. int(y1 + 1), columns likewise, then every `stride`-th pixel from the middle.

    A box smaller than the stride may vanish; `box_masks` keeps it.

    Args:
        boxes: (N, 4) x0, y0, x1, y1 in pixels of the full-size picture.
        height: rows of the full-size picture.
        width: columns of the full-size picture.
        stride: pixels per cell of the result.

    Returns:
        (N, ceil((height - stride // 2) / stride), …) float, 0 or 1.
    """
    x0, y0 = boxes[:, 0].int(), boxes[:, 1].int()
    x1, y1 = (boxes[:, 2] + 1).int(), (boxes[:, 3] + 1).int()
    rows = torch.arange(stride // 2, height, stride, device=boxes.device)
    columns = torch.arange(stride // 2, width, stride, device=boxes.device)
    inside_rows = (rows >= y0[:, None]) & (rows < y1[:, None])
    inside_columns = (columns >= x0[:, None]) & (columns < x1[:, None])
    return (inside_rows[:, :, None] & inside_columns[:, None, :]).float()
