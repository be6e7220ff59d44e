"""What a run tells of itself: whether words find their things, how fast it is, and what looks wrong.

Shapes: N clips, T frames, h mask grid, E entities (slots), M boxes.
"""

from __future__ import annotations

import math
import resource
import sys
from collections import deque
from collections.abc import Mapping
from statistics import median

import torch
import torch.nn.functional as F

from training.losses import LossInputs
from training.matching import overlap_and_union
from training.numerics import cosine

SILENT = 2.0
"""Words miss their things where the best slot's IoU is more than so many times that of the chosen one."""
SPIKE, SPREADS, FEWEST = 1.5, 10.0, 25
"""A loss spikes above so many times the median and so many deviations over it, once so many steps have been seen."""
FUTILE = 10
"""So many updates in a row without a finite gradient end a run."""


@torch.no_grad()
def grounding(inputs: LossInputs) -> dict[str, float]:
    """Whether a noun chooses the slot that shows its box: contrastive losses may fall while it does not.

    A cell belongs to its most probable slot.  A noun that names several boxes of a clip is right with any of them.

    Returns:
        iou_chosen, iou_best: mean over named boxes of the IoU of box and slot, over the frames that show the box, for
        the slot with the largest cosine and for the best one; absent without named boxes.
        dead_slots: slots without any cell, mean over clips.  background_share: of the cells, what the largest slot has.
    """
    masks, entities = inputs.need("masks"), inputs.need("entities")
    owned = F.one_hot(masks.argmax(-1), masks.shape[-1]).float()
    share = owned.mean((1, 2, 3))  # (N, E)
    found = {
        "dead_slots": (share == 0).sum(1).float().mean().item(),
        "background_share": share.max(1).values.mean().item(),
    }
    boxes, noun = inputs.need("boxes"), inputs.need("box_noun")
    named = (noun >= 0) & boxes.isfinite().all(-1).any(1)  # (N, M)
    if not named.any():
        return found
    overlap, union = (cells.sum(1) for cells in overlap_and_union(owned, boxes))
    iou = overlap / union.clamp_min(1e-6)  # (N, M, E)
    words = inputs.need("dictionary")[noun.clamp_min(0)]
    slot = cosine(words.float(), entities.float()).argmax(-1)  # (N, M)
    chosen, best = iou.gather(2, slot[..., None])[..., 0], iou.max(-1).values
    twins = (noun[:, :, None] == noun[:, None]) & named[:, None]  # (N, M, M)
    return {
        "iou_chosen": _best_of(chosen, twins)[named].mean().item(),
        "iou_best": _best_of(best, twins)[named].mean().item(),
        **found,
    }


def _best_of(value: torch.Tensor, twins: torch.Tensor) -> torch.Tensor:
    return value[:, None].expand_as(twins).masked_fill(~twins, -1.0).max(-1).values


class Watch:
    """Finds what a person should look at; a spike or failing grounding is told once in `interval` steps."""

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._losses: deque[float] = deque(maxlen=100)
        self._ious: list[tuple[float, float]] = []
        self._spike_told = -1
        self._futile = 0

    def see(self, step: int, values: Mapping[str, float], batch: str) -> list[str]:
        """Warnings about step `step`.

        Args:
            step: steps done, 1 after the first.
            values: "loss" and "grad_norm", sometimes those of `grounding`.
            batch: where the batch came from.

        Raises:
            FloatingPointError: no update has been possible for long.
        """
        return [*self._gradient(step, values["grad_norm"], batch), *self._spike(step, values["loss"], batch),
                *self._silence(step, values)]  # fmt: skip

    def _gradient(self, step: int, norm: float, batch: str) -> list[str]:
        if math.isfinite(norm):
            self._futile = 0
            return []
        self._futile += 1
        said = f"step {step}: the gradient is not finite, its update is left out; the batch: {batch}"
        if self._futile == FUTILE:
            raise FloatingPointError(f"{said}; so were the {FUTILE - 1} before it")
        return [said]

    def _spike(self, step: int, loss: float, batch: str) -> list[str]:
        seen = sorted(self._losses)
        self._losses.append(loss)
        if len(seen) < FEWEST or step // self._interval == self._spike_told:
            return []
        usual = median(seen)
        spread = median(abs(value - usual) for value in seen)
        if loss <= max(SPIKE * usual, usual + SPREADS * spread):
            return []
        self._spike_told = step // self._interval
        return [f"step {step}: the loss jumped to {loss:.3g} from about {usual:.3g}; the batch: {batch}"]

    def _silence(self, step: int, values: Mapping[str, float]) -> list[str]:
        if "iou_best" in values:
            self._ious.append((values["iou_chosen"], values["iou_best"]))
        if step % self._interval or not self._ious:
            return []
        chosen, best = (sum(column) / len(self._ious) for column in zip(*self._ious, strict=True))
        self._ious.clear()
        if best <= SILENT * chosen:
            return []
        return [
            f"step {step}: words don't find their things: the slot that a noun chooses has an IoU of {chosen:.3f} with "
            f"its box, the best slot {best:.3f}; tie nouns to boxes (losses noun_entity_box and slot_grounding)"
        ]


class Meter:
    """Clips a second and the share of time spent waiting for them, since it was last read."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._clips, self._seconds, self._waited = 0, 0.0, 0.0

    def add(self, *, clips: int, seconds: float, waited: float) -> None:
        """A step over `clips` of all ranks that took `seconds`, `waited` of them for data."""
        self._clips, self._seconds, self._waited = self._clips + clips, self._seconds + seconds, self._waited + waited

    def read(self) -> dict[str, float]:
        """clips_per_s of all ranks, waiting in 0..1; starts anew."""
        seconds = max(self._seconds, 1e-9)
        found = {"clips_per_s": self._clips / seconds, "waiting": self._waited / seconds}
        self._reset()
        return found


def memory_gb(device: torch.device) -> float:
    """Most memory that this process ever had: allocated on its GPU, or resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
