"""A camera at 1280×720 and 30 frames a second, which is none: its JPEG pictures wait in memory for their time."""

from __future__ import annotations

import time
from collections import deque
from itertools import islice
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

import henasy_stream as hs
from henasy_stream.types import UInt8Array

WIDTH, HEIGHT, FPS = 1280, 720, 30
BUFFERS = 4
"""As drivers have: they fill in order, and while all are full further pictures are lost."""


def pictures(count: int) -> list[UInt8Array]:
    """So many frames of the world, (H, W, 3) RGB."""
    with hs.open_source(f"world?seed=7&size={WIDTH}x{HEIGHT}&fps={FPS}") as source:
        return [frame.image for frame in islice(source, count)]


def jpegs(images: list[UInt8Array]) -> list[npt.NDArray[np.uint8]]:
    """Encoded as such cameras do."""
    options = (cv2.IMWRITE_JPEG_QUALITY, 90)
    return [
        np.asarray(cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1], np.uint8)
        for image in images
    ]


class PacedCamera:
    """The part of `cv2.VideoCapture` that sources use, and `read`.  A picture is there from its time on."""

    def __init__(self, encoded: list[npt.NDArray[np.uint8]]) -> None:
        self._encoded = encoded
        self._start_ns = time.monotonic_ns()
        self._arrived = 0
        self._waiting: deque[int] = deque()
        self._taken = -1

    @property
    def stamp_ns(self) -> int:
        """When the picture that was grabbed last was taken, by `time.monotonic_ns`."""
        return self._due_ns(self._taken)

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        """It is."""
        return True

    def grab(self) -> bool:
        """Takes the oldest picture that waits, or waits for the next."""
        self._fill()
        while not self._waiting:
            time.sleep(max(0.0, (self._due_ns(self._arrived) - time.monotonic_ns()) / 1e9))
            self._fill()
        self._taken = self._waiting.popleft()
        return True

    def retrieve(self) -> tuple[bool, npt.NDArray[Any]]:
        """Decodes the picture taken."""
        return True, np.asarray(cv2.imdecode(self._encoded[self._taken % len(self._encoded)], cv2.IMREAD_COLOR))

    def read(self) -> tuple[bool, npt.NDArray[Any]]:
        """Both."""
        self.grab()
        return self.retrieve()

    def get(self, propId: int, /) -> float:
        """The time of capture in ms; nothing else is known."""
        return self.stamp_ns / 1e6 if propId == cv2.CAP_PROP_POS_MSEC else 0.0

    def set(self, propId: int, value: float, /) -> bool:
        """Nothing can be set."""
        return False

    def release(self) -> None:
        """Nothing to close."""

    def _due_ns(self, index: int) -> int:
        return self._start_ns + round((index + 1) * 1e9 / FPS)

    def _fill(self) -> None:
        now = time.monotonic_ns()
        while self._due_ns(self._arrived) <= now:
            if len(self._waiting) < BUFFERS:
                self._waiting.append(self._arrived)
            self._arrived += 1
