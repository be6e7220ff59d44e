"""The window on the screen."""

from __future__ import annotations

import os
import subprocess
import sys

import cv2

from henasy_stream.annotate import annotate
from henasy_stream.types import Perception, UInt8Array

_TITLE = "henasy-stream"
_PROBE = "import cv2; cv2.namedWindow('probe'); cv2.waitKey(1); cv2.destroyAllWindows()"
_PROBE_S = 20.0


class WindowSink:
    """Shows annotated frames.  `q`, Escape or closing the window sets `closed`, upon which the node ends.

    Ask `available` first: without a usable display OpenCV aborts the whole process.
    """

    def __init__(self, title: str = _TITLE) -> None:
        self.closed = False
        self._title = title
        self._open = False

    @staticmethod
    def available() -> tuple[bool, str]:
        """Whether a window can be opened, and if not, why."""
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            return False, "no display (neither DISPLAY nor WAYLAND_DISPLAY is set)"
        try:
            probe = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, timeout=_PROBE_S, check=False)
        except subprocess.TimeoutExpired:
            return False, f"the display did not answer within {_PROBE_S:g} s"
        if probe.returncode == 0:
            return True, ""
        if b"not implemented" in probe.stderr:
            return False, "this OpenCV is built without windows (opencv-python-headless)"
        return False, "OpenCV cannot open a window on this display"

    def write(self, perception: Perception, picture: UInt8Array | None = None) -> None:
        """Shows the frame and handles the window's events.

        Args:
            perception: gives the picture if none is given.
            picture: the annotated frame (H, W, 3) RGB, where it has been made already.
        """
        if self.closed:
            return
        image = annotate(perception.frame, perception) if picture is None else picture
        if not self._open:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            cv2.resizeWindow(self._title, *_comfortable(image.shape[1], image.shape[0]))
            self._open = True
        cv2.imshow(self._title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(1) & 0xFF
        if key in (ord("q"), 27) or cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            self.closed = True

    def close(self) -> None:
        """Closes the window."""
        self.closed = True
        if self._open:
            self._open = False
            cv2.destroyAllWindows()
            cv2.waitKey(1)


def _comfortable(width: int, height: int) -> tuple[int, int]:
    """A window size of the frame's shape whose longer side is between 640 and 1280 pixels where possible."""
    longer = max(width, height)
    scale = min(max(longer, 640), 1280) / longer
    return max(64, round(width * scale)), max(64, round(height * scale))
