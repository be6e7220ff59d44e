"""Does a slot lie where the thing lies: the slot that the words choose, the best there is, and answers that never look.

Shapes: S picture size, h mask grid, E slots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from training.metrics import mask_iou, trivial_masks

CENTRE = 0.35
"""Edge of the centre box as a part of the picture's."""
Soft = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class SlotIous(NamedTuple):
    """IoU with the truth of one picture, 0..1: of the chosen slot, of the best one, and of three trivial answers."""

    chosen: float
    best: float
    whole_frame: float
    centre_box: float
    random_entity: float


def upsample(probability: Soft, size: int) -> Soft:
    """(h, h, E) → (size, size, E), bilinear."""
    resized = cv2.resize(np.ascontiguousarray(probability), (size, size), interpolation=cv2.INTER_LINEAR)
    return resized.astype(np.float32, copy=False)


def slot_ious(soft: Soft, truth: Mask | Sequence[Mask], chosen: int, rng: np.random.Generator) -> SlotIous:
    """Score one picture.

    Args:
        soft: (S, S, E) probability of the slots; above one half counts as covered.
        truth: (S, S) the thing, with at least one pixel; or several that may all be meant, of which each answer is
            compared with the one that it fits best.
        chosen: the slot that answers.
        rng: draws the random slot.
    """
    slots = np.moveaxis(soft > 0.5, -1, 0)
    things = (truth,) if isinstance(truth, np.ndarray) else tuple(truth)

    def fit(mask: Mask) -> float:
        return max(mask_iou(mask, thing) for thing in things)

    ious = [fit(slot) for slot in slots]
    trivial = {name: fit(mask) for name, mask in trivial_masks(slots, CENTRE, rng).items()}
    return SlotIous(chosen=ious[chosen], best=max(ious), **trivial)


def mean_ious(rows: Sequence[SlotIous], prefix: str = "") -> dict[str, float]:
    """Means over pictures in percent, under the names that every evaluation prints; NaN where there are none."""
    means = SlotIous(*np.mean(rows, 0)) if rows else SlotIous(*[float("nan")] * 5)
    return {
        f"{prefix}noun_miou": 100 * float(means.chosen),
        f"{prefix}best_slot_miou": 100 * float(means.best),
        f"{prefix}trivial_whole_frame": 100 * float(means.whole_frame),
        f"{prefix}trivial_centre_box": 100 * float(means.centre_box),
        f"{prefix}trivial_random_entity": 100 * float(means.random_entity),
    }


def distrust(scores: Mapping[str, float], prefix: str = "") -> list[str]:
    """A warning where the slots know the place and the words do not find it, or where looking is no better than not."""
    chosen, best = scores[f"{prefix}noun_miou"], scores[f"{prefix}best_slot_miou"]
    trivial = max(value for name, value in scores.items() if name.startswith(f"{prefix}trivial_"))
    notes = []
    if best > 2 * chosen:
        notes.append(f"warning: the best slot fits {best:.1f} %, the chosen one {chosen:.1f} %; nouns choose badly")
    if chosen <= trivial:
        notes.append(f"warning: an answer that never looks at the picture reaches {trivial:.1f} %")
    return notes
