"""The frames of a clip, wherever its chunks lie, as the network sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from henasy_stream.preprocess import Resize, View
from training.data.chunks import VideoStore
from training.data.decoding import Frames, Video
from training.data.hand_object import BOX_SHAPE, Boxes
from training.data.records import Clip, ClipError, VideoError
from training.data.sampling import SPANS, Ids, Rule, sample
from training.data.video_index import VideoIndex

SHORTNESS_S = 1.0
"""Chunks are often a few frames short of their length; by up to this their last frame stands for what is missing."""


@dataclass(frozen=True, kw_only=True)
class ClipReader:
    """Reads a clip into arrays; can be sent to worker processes.

    frames: T.  size, resize: the network's square and how a frame fits in.  rule: how T frames are chosen.  jitter:
    choose within each part of the clip at random, as LaViLa does in training; not with boxes, which belong to the
    frames in the middle.  boxes: adds theirs; `HandObjectBoxes` or `OwnBoxes`.
    """

    store: VideoStore
    frames: int
    size: int
    resize: Resize = "squash"
    rule: Rule = "lavila"
    jitter: bool = False
    boxes: Callable[[Clip], Boxes | None] | None = None

    def __post_init__(self) -> None:
        if self.boxes is not None and (self.frames != BOX_SHAPE[0] or self.jitter or self.rule != "lavila"):
            raise ValueError(f"hand and object boxes are for LaViLa's {BOX_SHAPE[0]} middle frames of a clip")

    def __call__(self, clip: Clip, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        """{"frames": (T, S, S, 3) uint8 RGB} and, with boxes, the two hands and two objects of each frame.

        Those are {"boxes": (T, 4, 4) float32 in 0..1 of the square}, NaN where absent or outside what the network
        sees, and {"boxed": () bool}, whether the files have the clip at all.

        Raises:
            ClipError: frames that can't be had.
            UserError: a damaged box file.
        """
        images = read_clip(self.store, clip, self.frames, rule=self.rule, rng=rng if self.jitter else None)
        height, width = images.shape[1:3]
        view = View.plan(height, width, self.size, self.resize)
        arrays: dict[str, npt.NDArray[Any]] = {"frames": np.stack([view.apply(image) for image in images])}
        if self.boxes is not None:
            boxes = self.boxes(clip)
            arrays["boxed"] = np.array(boxes is not None)
            arrays["boxes"] = _boxes_in_view(np.full(BOX_SHAPE, np.nan) if boxes is None else boxes, view)
        return arrays


def read_clip(
    store: VideoStore, clip: Clip, count: int, *, rule: Rule = "lavila", rng: np.random.Generator | None = None
) -> Frames:
    """(count, H, W, 3) uint8 RGB: frames of a clip by a published rule, at the file's own frame rate.

    A clip that crosses a border goes on in the next chunk.  Of a clip that ends beyond the video the part that exists
    is sampled, as LaViLa does.

    Args:
        store: where the files are.
        clip: says video, start and end.
        count: T.
        rule: how frames are chosen, see `sampling`.
        rng: chooses at random where the rule can.

    Raises:
        ClipError: a clip that starts beyond the video, a missing, damaged or far too short file.
    """
    return _Reading(store, clip, {}).frames(count, rule, rng)


class Place(NamedTuple):
    """Where a frame lies: the number of the chunk, and seconds after its first frame."""

    chunk: int
    second: float


def places_of_frames(
    store: VideoStore, clip: Clip, count: int, indices: dict[int, VideoIndex], *, rule: Rule = "lavila"
) -> list[Place]:
    """Where the frames lie that `read_clip` would read, ascending; nothing is decoded.

    Args:
        store: where the files are.
        clip: says video, start and end.
        count: T.
        indices: those of the video's chunks that have been read, by number; takes the ones that are read now.
        rule: how frames are chosen, see `sampling`.

    Raises:
        ClipError: as `read_clip`, but for what shows only when frames are decoded.
    """
    return _Reading(store, clip, indices).places(count, rule, None)


class _Reading:
    def __init__(self, store: VideoStore, clip: Clip, indices: dict[int, VideoIndex]) -> None:
        self.store, self.clip, self.indices = store, clip, indices
        self.chunks = store.chunks(clip.video)
        self.length_s = store.layout.chunk_s
        self.first_chunk = int(clip.start // self.length_s)

    def places(self, count: int, rule: Rule, rng: np.random.Generator | None) -> list[Place]:
        index = self.index(self.first_chunk)
        whole = np.isinf(self.length_s)
        per_chunk = len(index) if whole else round(self.length_s * index.fps)
        origin_s = 0.0 if whole else self.first_chunk * self.length_s
        end_s = min(self.clip.end, index.duration) if whole else self.clip.end
        first, end = SPANS[rule](self.clip.start, max(end_s, self.clip.start), origin_s, index.fps, count)
        ids = sample(rule, first, end, count, rng)
        if ids.max() >= min(len(index), per_chunk):
            ids = self.within_video(ids, first, count, rule, rng, per_chunk, index.fps)
        ahead, numbers = np.divmod(np.maximum(ids, 0), per_chunk)
        found = [Place(self.first_chunk + int(c), float(n / index.fps)) for c, n in zip(ahead, numbers, strict=True)]
        for chunk, second in found:
            if second > self.index(chunk).duration + SHORTNESS_S:
                lasts = self.index(chunk).duration
                raise self.error(chunk, f"lasts {lasts:.2f} s, the clip needs {second:.2f} s of it")
        return found

    def frames(self, count: int, rule: Rule, rng: np.random.Generator | None) -> Frames:
        places = self.places(count, rule, rng)
        parts = []
        for chunk in sorted({place.chunk for place in places}):
            seconds = [place.second for place in places if place.chunk == chunk]
            try:
                with Video(self.chunks[chunk]) as video:
                    parts.append(video.frames(self.index(chunk).nearest(seconds)))
            except VideoError as error:
                raise self.error(chunk, error.reason) from None
        if len({part.shape[1:] for part in parts}) > 1:
            raise self.error(self.first_chunk, "and the next chunk have pictures of different size")
        return np.concatenate(parts)

    def within_video(
        self, ids: Ids, first: int, count: int, rule: Rule, rng: np.random.Generator | None, per_chunk: int, fps: float
    ) -> Ids:
        """The ids, or new ones of the part that exists, where the video's last chunk ends before the clip."""
        last = max(self.chunks)
        if self.first_chunk + ids.max() // per_chunk < last:
            return ids
        total = (last - self.first_chunk) * per_chunk + len(self.index(last))
        if ids.max() < total:
            return ids
        if first >= total + SHORTNESS_S * fps:
            raise self.error(last, f"ends at {total / fps:.2f} s of the chunk that the clip starts in")
        return sample(rule, min(first, total - 1), total, count, rng)

    def index(self, chunk: int) -> VideoIndex:
        if chunk not in self.indices:
            if chunk not in self.chunks:
                raise self.error(chunk, self.absence(chunk))
            try:
                with Video(self.chunks[chunk]) as video:
                    self.indices[chunk] = video.index
            except VideoError as error:
                raise self.error(chunk, error.reason) from None
        return self.indices[chunk]

    def absence(self, chunk: int) -> str:
        if not self.chunks:
            return "no file of this video is there"
        later = max(self.chunks) > chunk
        return "missing" if later else "missing; the clip starts beyond the last chunk that is there"

    def error(self, chunk: int, reason: str) -> ClipError:
        path = self.chunks.get(chunk) or self.store.expected(self.clip.video, chunk)
        return ClipError(self.clip, str(path), reason)


def _boxes_in_view(boxes: npt.NDArray[np.floating], view: View) -> npt.NDArray[np.float32]:
    """(T, 4, 4) in 0..1 of the frame to 0..1 of the network's square."""
    source = boxes.reshape(-1, 4) * np.array([view.width, view.height, view.width, view.height])
    seen = view.boxes_to_model(source) / view.size
    seen[~((seen[:, 2:] > seen[:, :2]).all(1))] = np.nan
    return seen.reshape(boxes.shape).astype(np.float32)
