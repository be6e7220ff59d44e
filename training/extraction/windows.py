"""The windows of a long clip, and their frames in one sweep through the video.

Shapes: T frames of a window, S picture side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from henasy_stream.preprocess import Resize, View
from training.data.chunks import VideoStore
from training.data.clip_reader import Place, places_of_frames
from training.data.decoding import Frames, Video
from training.data.ego4d import ClipSpan
from training.data.records import Clip, ClipError, VideoError
from training.data.video_index import VideoIndex


@dataclass(frozen=True, kw_only=True)
class Windows:
    """How windows lie over a clip.  rate: windows a second.  seconds: length of one.  frames: T."""

    rate: float = 1.87
    seconds: float = 1 / 1.87
    frames: int = 4

    def count(self, span: ClipSpan) -> int:
        """Windows of a clip; one that the clip's end cuts counts, however little is left of it."""
        return max(1, math.ceil((span.end - span.start) * self.rate - 1e-6))

    def of(self, span: ClipSpan) -> list[Clip]:
        """The windows in order, in seconds of the video; none reaches beyond the clip's end."""
        starts = [span.start + place / self.rate for place in range(self.count(span))]
        return [Clip(video=span.video, start=at, end=min(at + self.seconds, span.end), key=span.clip) for at in starts]


def read_windows(
    store: VideoStore, windows: Sequence[Clip], frames: int, *, size: int, resize: Resize
) -> Iterator[Frames]:
    """(T, S, S, 3) uint8 RGB of each window: the frames that `read_clip` gives, but each is decoded once.

    Args:
        store: where the files are.
        windows: of one video, their starts ascending; they may overlap.
        frames: T.
        size: S.
        resize: how a frame fits into the square.

    Raises:
        ClipError: frames that can't be had, with the window that needs them.
    """
    indices: dict[int, VideoIndex] = {}
    places = [places_of_frames(store, window, frames, indices) for window in windows]
    needed = sorted({place for wanted in places for place in wanted})
    pictures = _pictures(store, windows, needed, size=size, resize=resize)
    kept: dict[Place, Frames] = {}
    for wanted in places:
        while wanted[-1] not in kept:
            place, picture = next(pictures)
            kept[place] = picture
        yield np.stack([kept[place] for place in wanted])
        kept = {place: picture for place, picture in kept.items() if place >= wanted[0]}


def _pictures(
    store: VideoStore, windows: Sequence[Clip], places: Sequence[Place], *, size: int, resize: Resize
) -> Iterator[tuple[Place, Frames]]:
    """The square (S, S, 3) of each place, in their order."""
    video = windows[0].video
    for chunk, group in groupby(places, lambda place: place.chunk):
        path, here = store.chunks(video)[chunk], list(group)
        try:
            with Video(path) as file:
                for place, picture in zip(here, file.at([place.second for place in here]), strict=True):
                    height, width = picture.shape[:2]
                    yield place, View.plan(height, width, size, resize).apply(picture)
        except VideoError as error:
            raise ClipError(windows[0], str(path), error.reason) from None
