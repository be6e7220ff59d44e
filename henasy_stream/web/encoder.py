"""Frames as JPEG in few sizes, each encoded once for whoever wants it, in a thread that yields to all others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import cv2

from henasy_stream.preprocess import Rotation
from henasy_stream.types import Frame, UInt8Array

Size = Literal["small", "full", "source"]
LONGER_SIDE: dict[Size, float] = {"small": 640, "full": 1280, "source": float("inf")}
"""Pixels; frames are never enlarged."""
QUALITY = 80
_TURN = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
_NICE = 5


def shrunk(image: UInt8Array, longest: float) -> UInt8Array:
    """The picture (H, W, 3), smaller if its longer side is over `longest`."""
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def jpeg(image: UInt8Array, size: Size, rotate: Rotation = 0) -> bytes:
    """A JPEG file of a picture (H, W, 3) RGB, turned clockwise by `rotate` degrees."""
    bgr = cv2.cvtColor(shrunk(image, LONGER_SIDE[size]), cv2.COLOR_RGB2BGR)
    if rotate:
        bgr = cv2.rotate(bgr, _TURN[rotate])
    done, data = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
    assert done, f"OpenCV could not encode a JPEG of shape {bgr.shape}"
    return data.tobytes()


class Encoder:
    """Encodes what is asked for; whoever asks for the same frame in the same size waits for the same JPEG.

    Attributes:
        rotate: degrees clockwise that set frames upright, in the sizes for viewers; "source" is as it came in.
    """

    def __init__(self) -> None:
        self.rotate: Rotation = 0
        self._worker = ThreadPoolExecutor(1, "henasy-page-jpeg", initializer=yield_to_others)
        self._made: dict[Size, tuple[Frame, asyncio.Future[bytes]]] = {}

    async def encoded(self, frame: Frame, size: Size) -> bytes:
        """The JPEG of the frame."""
        if size == "source" and not self.rotate and max(frame.width, frame.height) <= LONGER_SIDE["full"]:
            size = "full"
        made = self._made.get(size)
        if made is None or made[0] is not frame:
            loop = asyncio.get_running_loop()
            turn: Rotation = 0 if size == "source" else self.rotate
            made = frame, asyncio.ensure_future(loop.run_in_executor(self._worker, jpeg, frame.image, size, turn))
            self._made[size] = made
        return await asyncio.shield(made[1])

    def close(self) -> None:
        """Ends the thread."""
        self._worker.shutdown(wait=False, cancel_futures=True)


def yield_to_others() -> None:
    """Has this thread come after the node's own work: on Linux each has a niceness of its own."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
