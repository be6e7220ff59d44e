"""Grounding: does the entity that a noun chooses lie where the thing of that name lies.

Scored in the square that the network sees.  Shapes: T frames, S its side, E entities.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from henasy_stream.config import HenasyConfig
from henasy_stream.preprocess import View
from training.data.clip_reader import ClipReader, read_clip
from training.data.grounding import Label, label_checksums, read_labels, read_mask
from training.data.records import Clip, ClipError
from training.evaluation.embedding import Embedder, Videos, nothing_readable, read_clips, reader_of
from training.evaluation.published import GROUNDING
from training.evaluation.result import Result, about, lines_of
from training.evaluation.slots import Mask, SlotIous, distrust, mean_ious, slot_ious, upsample
from training.rasters import box_masks


class Moment(NamedTuple):
    """A clip and the second of it that is labelled."""

    video: str
    start: float
    end: float
    time: float


@dataclass(frozen=True, kw_only=True)
class MomentReader:
    """Reads a clip such that one of its frames is the one at `clip.time`; can be sent to worker processes."""

    reader: ClipReader

    def __call__(self, clip: Clip, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        """{"frames": (T, S, S, 3) uint8 RGB, "labelled": () which of them, "size": (2,) the video's height and width}.

        The frame at `clip.time` takes the place of the one that is nearest to it, so that label and picture are of one
        moment.
        """
        frames = self.reader(clip, rng)["frames"]
        count = len(frames)
        middles = clip.start + (np.arange(count) + 0.5) / count * (clip.end - clip.start)
        labelled = int(np.abs(middles - clip.time).argmin())
        moment = Clip(video=clip.video, start=clip.time, end=clip.time)
        (image,) = read_clip(self.reader.store, moment, 1, rule=self.reader.rule)
        height, width = image.shape[:2]
        frames[labelled] = View.plan(height, width, self.reader.size, self.reader.resize).apply(image)
        return {"frames": frames, "labelled": np.array(labelled), "size": np.array([height, width])}


def score_grounding(embedder: Embedder, annotations: Path, videos: Videos, *, seed: int = 0) -> Result:
    """Mean IoU over labels, in percent: of the entity nearest to the noun, of the best one, of answers that never look.

    Args:
        embedder: weights with entities.
        annotations: see `training.data.grounding`.
        videos: where the clips are.
        seed: draws the random entity.

    Raises:
        UserError: weights without entities, annotations that make no sense, or no clip that can be read.
    """
    embedder.entity_network()
    labels = read_labels(annotations)
    files = label_checksums(annotations, labels)
    moments: dict[Moment, list[Label]] = defaultdict(list)
    for label in labels:
        moments[_moment(label, embedder.config)].append(label)
    clips = [Clip(video=m.video, start=m.start, end=m.end, time=m.time) for m in moments]
    store = videos.open([clip.video for clip in clips])
    reader = MomentReader(reader=reader_of(embedder, store))
    nouns = dict(zip(asked := sorted({label.noun for label in labels}), embedder.texts(asked), strict=True))
    found: list[SlotIous | None] = []
    unreadable: dict[int, ClipError] = {}
    by_clip, rng = list(moments.values()), np.random.default_rng(seed)
    for batch in read_clips(clips, reader, batch=embedder.batch, workers=videos.workers):
        unreadable.update(batch.unreadable)
        if not batch.rows:
            continue
        seen = embedder.observe(batch.arrays["frames"])
        for i, place in enumerate(batch.rows):
            height, width = batch.arrays["size"][i].tolist()
            view = View.plan(height, width, reader.reader.size, reader.reader.resize)
            soft = upsample(seen.probability[i, int(batch.arrays["labelled"][i])], view.size)
            for label in by_clip[place]:
                chosen = int((seen.entities[i] @ nouns[label.noun]).argmax())
                truth = label_in_view(label, view)
                found.append(slot_ious(soft, truth, chosen, rng) if truth.any() else None)
    if len(unreadable) == len(clips):
        raise nothing_readable(len(clips), unreadable)
    rows = [ious for ious in found if ious]
    scores = mean_ious(rows)
    masks = sum(label.mask is not None for label in labels)
    notes = [
        f"{len(labels) - masks} boxes, {masks} masks, {len(nouns)} nouns; scored in the square that the network sees"
    ]
    if None in found:
        notes.append(f"{found.count(None)} labels left out: the network sees nothing of them")
    return Result(
        task="grounding",
        scores=scores,
        published=GROUNDING,
        files=files,
        unit="labels",
        total=len(labels),
        scored=len(rows),
        clips=len(clips),
        unreadable=lines_of(unreadable),
        notes=[*notes, *distrust(scores)],
        about=about(embedder, store, seed=seed),
    )


def label_in_view(label: Label, view: View) -> Mask:
    """(S, S) what of the label the network sees; a pixel belongs to it that is at least half covered."""
    if label.mask is not None:
        image = _resized(read_mask(label.mask), view.height, view.width)
        return view.apply(np.repeat(image[..., None] * np.uint8(255), 3, 2))[..., 0] > 127
    assert label.box is not None
    source = np.array(label.box) * (view.width, view.height, view.width, view.height)
    box = torch.from_numpy(view.boxes_to_model(source)[0])
    return (box_masks(box, view.size, view.size) >= 0.5).numpy()


def _resized(mask: Mask, height: int, width: int) -> npt.NDArray[np.uint8]:
    rows, columns = (
        ((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip((height, width), mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)].astype(np.uint8)


def _moment(label: Label, config: HenasyConfig) -> Moment:
    """The clip around a label: its own, or one whose frames lie as far apart as the weights want them."""
    if not math.isnan(label.start):
        return Moment(label.video, label.start, label.end, label.time)
    frames = config.vision.num_frames
    length = config.preprocess.span_s * frames / max(frames - 1, 1)
    start = max(label.time - length / 2, 0.0)
    return Moment(label.video, start, start + length, label.time)
