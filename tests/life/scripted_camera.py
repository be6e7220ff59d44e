"""`python -m tests.life.scripted_camera …`: the live node with a V4L2 camera whose driver does what a file says.

What no local server can do: a device that is unplugged, a driver that hangs or whose stamps are wrong.  The file is
named by the variable `CAMERA`; it stands for the device as well, so removing it unplugs the camera, and its one word is
what the driver does:

    good    20 pictures a second, stamped when they were taken
    frozen  the same picture again and again
    silent  no picture, the calls return
    hangs   no picture, the call does not return
    zero    stamps are zero
    forth   stamps lie an hour in the future
    back    stamps lie an hour in the past
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import cv2

from henasy_stream import live, sources
from henasy_stream.sources import CameraOptions, Source
from henasy_stream.sources.camera import CameraSource
from henasy_stream.types import UInt8Array
from tests.life.network_camera import cup
from tests.runtime import fake_live  # noqa: F401 - its network takes the place of the real one

DEVICE = Path(os.environ.get("CAMERA", ""))
_HOUR_MS = {"forth": 3_600_000, "back": -3_600_000}


class Driver:
    """The part of `cv2.VideoCapture` that a source uses."""

    def __init__(self) -> None:
        self._index = 0
        self._taken_ms = 0.0

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return DEVICE.exists()

    @property
    def _word(self) -> str:
        try:
            return DEVICE.read_text().strip()
        except OSError:
            return "silent"

    def grab(self) -> bool:
        time.sleep(0.05)
        while self._word == "hangs":
            time.sleep(0.05)
        if self._word == "silent":
            return False
        self._index += self._word != "frozen"
        self._taken_ms = time.monotonic() * 1000
        return True

    def retrieve(self) -> tuple[bool, UInt8Array]:
        return True, cup()(self._index)[:, :, ::-1].copy()

    def get(self, propId: int, /) -> float:
        word = self._word
        if propId == cv2.CAP_PROP_POS_MSEC:
            return 0.0 if word == "zero" else self._taken_ms + _HOUR_MS.get(word, 0)
        return {cv2.CAP_PROP_FRAME_WIDTH: 320.0, cv2.CAP_PROP_FRAME_HEIGHT: 240.0, cv2.CAP_PROP_FPS: 20.0}.get(
            propId, 0
        )

    def set(self, propId: int, value: float, /) -> bool:
        return True

    def release(self) -> None:
        """Nothing to free."""


def _open(uri: str, camera: CameraOptions | None = None) -> Source:
    return CameraSource(str(DEVICE), camera or CameraOptions(), open_capture=lambda path: Driver())


def main() -> int:
    module: Any = sources
    module.open_source = _open
    return live.main()


if __name__ == "__main__":
    sys.exit(main())
