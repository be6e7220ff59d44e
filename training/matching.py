"""Which slot holds which box or noun: Hungarian assignments, without gradient.

Shapes: `N` clips, `T` frames, `h, w` mask grid, `E` entities (slots), `M` boxes, `K` nouns of a narration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from training.rasters import box_masks


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxMatch:
    """The slot of each box.

    slot: (N, M) long, one slot per box over the window; -1 where the box is absent in every frame or no slot is left.
    frame_slot: (N, T, M) long, the slot in each frame; -1 where the box is absent in that frame.
    iou: (N, M) soft IoU of box and `slot` over the frames in which the box is present; 0 where slot is -1.
    """

    slot: Tensor
    frame_slot: Tensor
    iou: Tensor

    def taken(self, num_slots: int) -> Tensor:
        """(N, num_slots) bool: the slots that hold a box."""
        taken = torch.zeros(len(self.slot), num_slots + 1, dtype=torch.bool, device=self.slot.device)
        return taken.scatter(1, self.slot.remainder(num_slots + 1), True)[:, :num_slots]


def _assign(gain: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Maximises the summed gain (B, rows, columns) of each problem; (B, rows) column of each row or -1."""
    result = np.full(valid.shape, -1, np.int64)
    gain = np.nan_to_num(gain)  # what is no number is matched to something: the loss will say so, with the batch
    for b in range(len(gain)):
        rows = np.flatnonzero(valid[b])
        if len(rows):
            picked, columns = linear_sum_assignment(gain[b, rows], maximize=True)
            result[b, rows[picked]] = columns
    return result


def _most_frequent_slot(frame_slot: Tensor, num_slots: int) -> Tensor:
    """(N, T, M) slots with -1 for none to the one seen most often (N, M), -1 if none ever."""
    votes = torch.nn.functional.one_hot(frame_slot + 1, num_slots + 1)[..., 1:].sum(1)
    return torch.where(votes.sum(-1) > 0, votes.argmax(-1), -1)


@torch.no_grad()
def overlap_and_union(masks: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """How much of box raster and mask is common, and how much they cover together; both 0 where the box is absent.

    Args:
        masks: (N, T, h, w, E) in 0..1.
        boxes: (N, T, M, 4) x0, y0, x1, y1 in 0..1 of the model's square; NaN where absent.

    Returns:
        Cells, each (N, T, M, E).
    """
    h, w = masks.shape[2:4]
    grid = torch.tensor([w, h, w, h], dtype=torch.float32, device=boxes.device)
    box_cells = box_masks(boxes.float() * grid, h, w).flatten(3)  # (N, T, M, h*w)
    mask_cells = masks.float().flatten(2, 3)  # (N, T, h*w, E)
    overlap = box_cells @ mask_cells
    union = box_cells.sum(-1)[..., None] + mask_cells.sum(2)[:, :, None] - overlap
    return overlap, union * boxes.isfinite().all(-1)[..., None]


@torch.no_grad()
def match_boxes(
    masks: Tensor,
    boxes: Tensor,
    *,
    iou_weight: float = 10.0,
    noun_similarity: Tensor | None = None,
    noun_weight: float = 1.0,
    per_frame: bool = False,
) -> BoxMatch:
    """Hungarian matching of boxes to slots on the soft IoU of box raster and mask.

    The IoU of a box counts the frames in which that box is present only, so a missed detection costs nothing.

    Args:
        masks: (N, T, h, w, E) probability of the entity given the patch.
        boxes: (N, T, M, 4) x0, y0, x1, y1 in 0..1 of the model's square; NaN where absent.  Box m is one object.
        iou_weight: gain per unit of IoU.  Too small a weight lets nouns pick slots that have no mask on the object.
        noun_similarity: (N, M, E) cosine of the box's noun with each slot, 0 for an unnamed box; None: masks alone.
        noun_weight: gain per unit of `noun_similarity`.
        per_frame: match every frame by itself (paper Eq. 9); `slot` is then the one most frames chose.

    Returns:
        The assignment, on the device of `masks`.
    """
    n, t, _, _, e = masks.shape
    m = boxes.shape[2]
    present = boxes.isfinite().all(-1)  # (N, T, M)
    overlap, union = overlap_and_union(masks, boxes)
    iou = overlap.sum(1) / union.sum(1).clamp_min(1e-6)  # (N, M, E)
    extra = 0.0 if noun_similarity is None else noun_weight * noun_similarity.float()
    if per_frame:
        frame_iou = overlap / union.clamp_min(1e-6)
        frame_gain = iou_weight * frame_iou + (extra if isinstance(extra, float) else extra[:, None])
        found = _assign(frame_gain.flatten(0, 1).cpu().numpy(), present.flatten(0, 1).cpu().numpy())
        frame_slot = torch.from_numpy(found).to(masks.device).view(n, t, m)
        slot = _most_frequent_slot(frame_slot, e)
    else:
        found = _assign((iou_weight * iou + extra).cpu().numpy(), present.any(1).cpu().numpy())
        slot = torch.from_numpy(found).to(masks.device)
        frame_slot = torch.where(present, slot[:, None], -1)
    chosen = iou.gather(2, slot.clamp_min(0)[..., None])[..., 0]
    return BoxMatch(slot=slot, frame_slot=frame_slot, iou=torch.where(slot >= 0, chosen, 0.0))


@torch.no_grad()
def match_nouns(similarity: Tensor, valid: Tensor) -> Tensor:
    """Hungarian matching of a narration's nouns to slots on similarity alone (paper 4.4, Eq. 7).

    Args:
        similarity: (N, K, E) noun against slot.
        valid: (N, K) bool, False for padding.

    Returns:
        (N, K) long slot of each noun, -1 for padding and where no slot is left.
    """
    found = _assign(similarity.float().cpu().numpy(), valid.cpu().numpy())
    return torch.from_numpy(found).to(similarity.device)
