"""Motion JPEG, decoded picture by picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from henasy_stream.sources._capture import Capture
from henasy_stream.sources._opencv import cv2


class MjpegCapture:
    """A capture of OpenCV's that hands over JPEG files as they came, and we decode them.

    OpenCV's own decoding squeezes every later picture into the size of the first, without a word; here a camera that
    changes its resolution in mid-stream shows.

    Args:
        capture: open, of FFmpeg's, in the format MJPG, nothing taken from it yet.
    """

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        capture.set(cv2.CAP_PROP_FORMAT, -1)

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        """See `Capture`."""
        return self._capture.isOpened()

    def grab(self) -> bool:
        """See `Capture`."""
        return self._capture.grab()

    def retrieve(self) -> tuple[bool, npt.NDArray[Any]]:
        """See `Capture`."""
        _, data = self._capture.retrieve()
        image = cv2.imdecode(data.reshape(-1), cv2.IMREAD_COLOR) if data is not None and data.size else None
        return (False, np.empty(0, np.uint8)) if image is None else (True, image)

    def get(self, propId: int, /) -> float:
        """See `Capture`."""
        return self._capture.get(propId)

    def set(self, propId: int, value: float, /) -> bool:
        """See `Capture`."""
        return self._capture.set(propId, value)

    def release(self) -> None:
        """See `Capture`."""
        self._capture.release()
