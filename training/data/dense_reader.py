"""Every view of a trimmed video that LaViLa's evaluation on EGTEA looks at: dense clips times three square crops.

Shapes: V views, T frames, S picture size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from henasy_stream.preprocess import View
from training.data.chunks import VideoStore
from training.data.decoding import Frames, Video
from training.data.records import Clip, ClipError, VideoError
from training.data.sampling import dense_views

CROPS = 3


@dataclass(frozen=True, kw_only=True)
class DenseReader:
    """Reads whole files; can be sent to worker processes.

    clips: how many dense clips, spread evenly.  frames: T of each.  stride: frames of the file from one to the next.
    size: S.
    """

    store: VideoStore
    size: int
    clips: int = 10
    frames: int = 16
    stride: int = 2

    @property
    def views(self) -> int:
        """V."""
        return self.clips * CROPS

    def __call__(self, clip: Clip, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        """{"frames": (V, T, S, S, 3) uint8 RGB}, the three crops of the first dense clip first.

        Raises:
            ClipError: a file that is missing or damaged.
        """
        path = self.store.chunks(clip.video).get(0)
        if path is None:
            expected = str(self.store.expected(clip.video, 0))
            raise ClipError(clip, expected, "no file of this video is there")
        try:
            with Video(path) as video:
                ids = dense_views(len(video.index), views=self.clips, length=self.frames, stride=self.stride)
                shown, places = np.unique(ids, return_inverse=True)
                crops = np.stack([square_crops(image, self.size) for image in video.frames(shown)], 1)
        except VideoError as error:
            raise ClipError(clip, error.path, error.reason) from None
        views = crops[:, places.reshape(ids.shape)]  # CROPS, clips, T, S, S, 3
        return {"frames": views.swapaxes(0, 1).reshape(self.views, self.frames, *crops.shape[2:])}


def square_crops(image: Frames, size: int) -> Frames:
    """(H, W, 3) → (3, size, size, 3): the squares of the short side at the start, middle and end of the long one."""
    height, width = image.shape[:2]
    side = min(height, width)
    view = View.plan(side, side, size, "squash")
    squares = []
    for top, left in zip(_starts(height, side), _starts(width, side), strict=True):
        squares.append(view.apply(np.ascontiguousarray(image[top : top + side, left : left + side])))
    return np.stack(squares)


def _starts(length: int, side: int) -> tuple[int, int, int]:
    return 0, -(-(length - side) // 2), length - side
