"""Entities against a detector's boxes of hands and objects.

The boxes have no names, so of a picture's objects each answer is compared with the one that it fits best: the chosen
slot, the best slot and the trivial answers alike.  The object is asked for by the first noun of the narration, the hand
by "hand".  Scored in the square that the network sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from training.data.clip_labels import HAND
from training.data.clip_table import ClipTable
from training.data.hand_object import PER_KIND
from training.data.own import OwnBoxes, OwnData
from training.evaluation.embedding import Embedder, read_clips, reader_of
from training.evaluation.slots import Mask, SlotIous, slot_ious, upsample
from training.rasters import box_masks


@dataclass(frozen=True, kw_only=True)
class BoxIous:
    """One entry for each picture that has objects and a noun, and for each that has hands.  clips: with boxes."""

    objects: Sequence[SlotIous]
    hands: Sequence[SlotIous]
    clips: int


def ground_boxes(
    embedder: Embedder, own: OwnData, clips: ClipTable, boxes: OwnBoxes, *, workers: int, seed: int
) -> BoxIous:
    """Look at all clips that have boxes; what cannot be read has been told of before."""
    rows = [row for row, clip in enumerate(clips) if boxes(clip) is not None]
    reader = replace(reader_of(embedder, own.store(report=lambda line: None)), boxes=boxes)
    words = dict(zip((*own.nouns, HAND), embedder.texts((*own.nouns, HAND)), strict=True))
    objects: list[SlotIous] = []
    hands: list[SlotIous] = []
    rng, size = np.random.default_rng(seed), embedder.config.vision.image_size
    for batch in read_clips(clips.select(rows), reader, batch=embedder.batch, workers=workers):
        if not batch.rows:
            continue
        seen = embedder.observe(batch.arrays["frames"])
        for i, place in enumerate(batch.rows):
            named = clips[rows[place]].nouns
            asked = [(hands, HAND, slice(None, PER_KIND))]
            asked += [(objects, own.nouns[named[0]], slice(PER_KIND, None))] if named else []
            for found, word, kind in asked:
                chosen = int((seen.entities[i] @ words[word]).argmax())
                for probability, boxed in zip(seen.probability[i], batch.arrays["boxes"][i][:, kind], strict=True):
                    if things := _masks(boxed, size):
                        found.append(slot_ious(upsample(probability, size), things, chosen, rng))
    return BoxIous(objects=objects, hands=hands, clips=len(rows))


def _masks(boxes: Tensor, size: int) -> list[Mask]:
    """Those of the boxes (O, 4) in 0..1 that are there and cover something."""
    masks = (box_masks(boxes * size, size, size) >= 0.5).numpy()
    return [mask for mask in masks if mask.any()]
