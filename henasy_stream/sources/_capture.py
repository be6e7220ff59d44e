"""What the sources use of `cv2.VideoCapture`, and how its pictures become ours."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from henasy_stream.sources._opencv import cv2
from henasy_stream.types import UInt8Array


class Capture(Protocol):
    """The part of `cv2.VideoCapture` that is needed; scripts of faults implement it in tests."""

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        """Whether it was opened."""
        ...

    def grab(self) -> bool:
        """Takes the next picture; False when there is none."""
        ...

    def retrieve(self) -> tuple[bool, npt.NDArray[Any]]:
        """Decodes the picture taken: BGR (H, W, 3) or grey (H, W), uint8."""
        ...

    def get(self, propId: int, /) -> float:
        """A property; 0 or -1 where unknown."""
        ...

    def set(self, propId: int, value: float, /) -> bool:
        """Asks for a property."""
        ...

    def release(self) -> None:
        """Closes it."""
        ...


def to_rgb(image: npt.NDArray[Any] | None) -> UInt8Array | None:
    """A picture as captures return it, as a new RGB (H, W, 3) uint8; None when it is no usable picture."""
    if image is None or image.size == 0 or image.dtype != np.uint8:
        return None
    if image.ndim == 3 and image.shape[2] == 3:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)
    return None


def grab(capture: Capture) -> bool:
    """Takes the next picture; False when there is none."""
    try:
        return capture.grab()
    except cv2.error:
        return False


def retrieve_rgb(capture: Capture) -> UInt8Array | None:
    """The picture grabbed last, None when it does not decode."""
    try:
        return to_rgb(capture.retrieve()[1])
    except cv2.error:
        return None
