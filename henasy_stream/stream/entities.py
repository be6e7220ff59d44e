"""What a window's slots show: from the network's output to detections in the pixels of the frame.

Shapes: `T` frames of a window, `h, w` mask grid, `E` slots, `N` detections, `L` labels, `D` width of the embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from henasy_stream.preprocess import View, clip_boxes, transform_boxes
from henasy_stream.stream.parts import find_parts, probability_inside
from henasy_stream.types import FloatArray, NetworkOutput

Float64Array = npt.NDArray[np.float64]
IntpArray = npt.NDArray[np.intp]

SAME_MASK = 0.5
"""Two slots of one label whose masks overlap more are one entity."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Vocabulary:
    """The words that slots are compared with.

    embeddings: (L, D) of `labels`; background: (D,) of the text that marks a slot which holds nothing, or None.
    """

    labels: tuple[str, ...]
    embeddings: FloatArray
    background: FloatArray | None
    temperature: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Detections:
    """The N entities of one window, described at its newest frame.

    masks: (N, T, h, w) probability of the entity given the patch, for every frame of the window.
    embeddings: (N, D), L2-normalised.  labels: (N, L) probability of each label, given that something is there.
    presence: (N,) probability that something is there.  boxes: (N, 4) float64, source pixels.  slots: (N,) the slot
    that shows it, which may show another one as well; -1 for entities from outside.
    """

    masks: FloatArray
    embeddings: FloatArray
    labels: FloatArray
    presence: FloatArray
    boxes: Float64Array
    slots: IntpArray

    def __len__(self) -> int:
        return len(self.presence)


def softmax(logits: FloatArray) -> FloatArray:
    """Over the last axis."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    result: FloatArray = shifted / shifted.sum(-1, keepdims=True)
    return result


def soft_iou(first: FloatArray, second: FloatArray) -> FloatArray:
    """(N, M) overlap of soft masks (N, …) and (M, …): sum of minima over sum of maxima; 0 for empty masks."""
    size = math.prod(first.shape[1:])  # -1 would be ambiguous for no masks at all
    a, b = first.reshape(len(first), size), second.reshape(len(second), size)
    shared = np.minimum(a[:, None], b[None]).sum(-1)
    union = a.sum(-1)[:, None] + b.sum(-1)[None] - shared
    result: FloatArray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 1e-6)
    return result


def mask_to_source(view: View, grid: int) -> Float64Array:
    """2x3 affine from a `grid` x `grid` mask's continuous coordinates to source pixels."""
    affine = view.to_source.copy()
    affine[:, :2] *= view.size / grid
    return affine


def detect(output: NetworkOutput, vocabulary: Vocabulary, view: View, least_presence: float) -> Detections:
    """The entities of a window.

    A slot's presence is 1 - P(background) under the softmax of its cosines over `temperature` with all labels and the
    background text; without such a text (or without labels) it is the mean probability inside its mask.  The label
    distribution is the softmax over the labels alone.  Where the newest frame's mask has two large separate parts, they
    are two entities (`find_parts`); the box is the tight box of one.
    Slots below `least_presence`, without a mask of sane size, or with mask and label of another are left out.
    """
    if output.entity_probability is None or output.entity_embeddings is None:
        raise ValueError("this output has no entities")
    masks = np.ascontiguousarray(np.moveaxis(output.entity_probability, -1, 0), np.float32)  # (E, T, h, w)
    embeddings = output.entity_embeddings
    labels = np.zeros((len(masks), 0), np.float32)
    presence: FloatArray | None = None
    if vocabulary.labels:
        logits = embeddings @ vocabulary.embeddings.T / vocabulary.temperature
        labels = softmax(logits)
        if vocabulary.background is not None:
            empty = embeddings @ vocabulary.background / vocabulary.temperature
            presence = 1.0 - softmax(np.concatenate([logits, empty[:, None]], 1))[:, -1]
    if presence is not None:
        slots = np.nonzero(presence >= least_presence)[0]
        masks, slots = _merge_repeated(masks, labels, presence, slots)
    else:
        slots = np.arange(len(masks))
    found = [find_parts(masks[slot]) for slot in slots]
    slots = np.repeat(slots, [len(boxes) for boxes, _ in found])
    boxes = np.concatenate([np.zeros((0, 4)), *(boxes for boxes, _ in found)])
    parts = np.concatenate([masks[:0], *(part for _, part in found)])
    if presence is None:
        certain = np.array([probability_inside(part[-1]) for part in parts], np.float32)
    else:
        certain = presence[slots].astype(np.float32)
    source = clip_boxes(transform_boxes(mask_to_source(view, masks.shape[-1]), boxes), view.height, view.width)
    kept = (source[:, 2:] > source[:, :2]).all(1) & (certain >= least_presence)
    slots = slots[kept]
    return Detections(
        masks=parts[kept],
        embeddings=embeddings[slots],
        labels=labels[slots],
        presence=certain[kept],
        boxes=source[kept],
        slots=slots,
    )


def _merge_repeated(
    masks: FloatArray, labels: FloatArray, presence: FloatArray, slots: IntpArray
) -> tuple[FloatArray, IntpArray]:
    """Adds the mask of a slot that repeats a stronger one to it (they share the patches' probability)."""
    order = slots[np.argsort(-presence[slots], kind="stable")]
    best = labels.argmax(1)
    overlap = soft_iou(masks[order, -1], masks[order, -1])
    kept: list[int] = []
    for i, slot in enumerate(order):
        twin = next((j for j in kept if best[order[j]] == best[slot] and overlap[i, j] > SAME_MASK), None)
        if twin is None:
            kept.append(i)
        else:
            masks[order[twin]] = np.minimum(masks[order[twin]] + masks[slot], 1.0)
    return masks, np.sort(order[kept])
