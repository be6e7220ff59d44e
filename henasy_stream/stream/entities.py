"""What a window's slots show: from the network's output to detections in the pixels of the frame.

Shapes: `T` frames of a window, `h, w` mask grid, `E` slots, `N` detections, `L` labels, `D` width of the embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from henasy_stream.preprocess import View, clip_boxes, transform_boxes
from henasy_stream.types import FloatArray, NetworkOutput

Float64Array = npt.NDArray[np.float64]

LEAST_PEAK = 0.4
"""A slot whose probability nowhere reaches this has no place in the picture."""
SMALLEST_SHARE = 0.001
LARGEST_SHARE = 0.85
"""A mask that fills less of the picture is noise of the upsampling, one that fills more is ground, not an entity."""
SAME_MASK = 0.5
"""Two slots of one label whose masks overlap more are one entity."""
PART = 0.25
"""A part of a mask belongs to the entity if it has this share of the largest part: hands hide the middle of things."""
_FINE = 96  # cells along a side to which masks are upsampled at least, and at least fourfold


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
    presence: (N,) probability that something is there.  boxes: (N, 4) float64, source pixels.
    """

    masks: FloatArray
    embeddings: FloatArray
    labels: FloatArray
    presence: FloatArray
    boxes: Float64Array

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
    distribution is the softmax over the labels alone.  The box is the tight box of the large connected parts of the
    newest frame's mask, upsampled bilinearly and cut at half its own maximum, so that it is finer than a patch.
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
    boxes, inside = _locate(masks[slots, -1])
    if presence is None:
        presence = np.zeros(len(masks), np.float32)
        presence[slots] = inside
    source = clip_boxes(transform_boxes(mask_to_source(view, masks.shape[-1]), boxes), view.height, view.width)
    with np.errstate(invalid="ignore"):
        kept = (source[:, 2:] > source[:, :2]).all(1) & (presence[slots] >= least_presence)
    slots = slots[kept]
    return Detections(
        masks=masks[slots],
        embeddings=embeddings[slots],
        labels=labels[slots],
        presence=presence[slots].astype(np.float32),
        boxes=source[kept],
    )


def _merge_repeated(
    masks: FloatArray, labels: FloatArray, presence: FloatArray, slots: npt.NDArray[np.intp]
) -> tuple[FloatArray, npt.NDArray[np.intp]]:
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


def _locate(masks: FloatArray) -> tuple[Float64Array, FloatArray]:
    """Boxes (N, 4) in mask coordinates, NaN where there is no sane mask, and the mean probability inside (N,)."""
    n, h, w = masks.shape
    boxes, inside = np.full((n, 4), np.nan), np.zeros(n, np.float32)
    factor = max(4, -(-_FINE // max(h, w)))
    for i, mask in enumerate(masks):
        if mask.max() < LEAST_PEAK:
            continue
        fine = cv2.resize(mask, (w * factor, h * factor), interpolation=cv2.INTER_LINEAR)
        hard = (fine >= 0.5 * fine.max()).astype(np.uint8)
        left, top, width, height = cv2.boundingRect(hard)  # parts of a small thing are found sooner in a small picture
        around = hard[top : top + height, left : left + width]
        _, _, stats, _ = cv2.connectedComponentsWithStats(around, connectivity=8)
        areas = stats[1:, cv2.CC_STAT_AREA]
        if areas.max() >= SMALLEST_SHARE * hard.size and areas.sum() <= LARGEST_SHARE * hard.size:
            large = stats[1:][areas >= PART * areas.max()]
            low = large[:, [cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP]] + (left, top)
            high = low + large[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
            boxes[i] = np.concatenate([low.min(0), high.max(0)]) / factor
            inside[i] = cv2.mean(fine, hard)[0]
    return boxes, inside
