"""OpenCV, told not to write to the terminal.  Import `cv2` from here in every module that opens captures or images.

FFmpeg and OpenCV log decoding trouble of their own to stderr; what the user must know goes through notices and errors
instead.  Variables that the user has set are left as they are.
"""

from __future__ import annotations

import os

_DEFAULTS = {
    "OPENCV_LOG_LEVEL": "SILENT",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",  # AV_LOG_QUIET
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "2",  # seconds; the default of 10 keeps a hung camera's thread that long
}
_quiet = "OPENCV_LOG_LEVEL" not in os.environ
for _name, _value in _DEFAULTS.items():
    os.environ.setdefault(_name, _value)

import cv2  # noqa: E402

if _quiet:  # the variable comes too late where somebody imported cv2 before; OpenCV 5 moved the function
    (getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(0)


def one_thread() -> None:
    """Has OpenCV work in the thread that calls it, unless OPENCV_FOR_THREADS_NUM says otherwise.

    For a whole process, so a node does it and the library does not.  At the node's sizes its pool costs more than it
    saves (docs/performance.md).
    """
    if "OPENCV_FOR_THREADS_NUM" not in os.environ:
        cv2.setNumThreads(1)


__all__ = ["cv2", "one_thread"]
