"""The annotated video file."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from henasy_stream.annotate import annotate
from henasy_stream.errors import UserError
from henasy_stream.types import Perception, UInt8Array

_log = logging.getLogger(__name__)

_CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "XVID", ".webm": "VP90"}
_COMMON_RATES = (5.0, 10.0, 12.5, 15.0, 20.0, 24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0, 50.0, 60000 / 1001, 60.0)
_FALLBACK_FPS = 10.0
_LONGEST_HOLD_S = 5.0
_ENOUGH_TO_OPEN, _ENOUGH_TO_GO_ON = 16_000_000, 4_000_000  # bytes free; the index is written when the file is closed


class VideoSink:
    """Writes annotated frames at a constant rate, in time with their stamps.

    A frame stays for as long as its successor is away and is skipped where two fall on the same tick; pauses are cut
    to 5 s.  The first frame gives the size (odd sizes grow by a pixel); other sizes are fitted in with black bars.

    mp4, mov, mkv and avi hold MPEG-4 part 2, which VLC, mpv and FFmpeg play and browsers do not; webm holds VP9, which
    browsers play and which takes about 0.3 s of encoding for each frame of 1280x720.

    When the disk is nearly full the file is closed properly, the problem is reported once, and the node goes on.

    Args:
        path: of the file, which is replaced; the suffix chooses the format.
        fps: of the file; by default what the stamps of the first two frames say, between 1 and 60.
        on_problem: called once with a line for the user; logs an error when None.

    Raises:
        UserError: unknown suffix, the file cannot be created there, or the disk is full.
    """

    def __init__(
        self, path: str | Path, fps: float | None = None, *, on_problem: Callable[[str], None] | None = None
    ) -> None:
        self.path = Path(path)
        self.problem: str | None = None
        self.frames = 0
        self._fps = fps
        self._on_problem = on_problem or _log.error
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._held: UInt8Array | None = None
        self._held_tick = 0
        self._zero_ns = 0
        self._last_ns = 0
        self._check(fps)

    def write(self, perception: Perception, picture: UInt8Array | None = None) -> None:
        """Appends the frame of a perception.

        Args:
            perception: gives the stamp, and the picture if none is given.
            picture: the annotated frame (H, W, 3) RGB, where it has been made already.
        """
        if self.problem is not None:
            return
        image = annotate(perception.frame, perception) if picture is None else picture
        stamp_ns = perception.stamp_ns
        if self._held is None:
            self._size = (image.shape[1] + image.shape[1] % 2, image.shape[0] + image.shape[0] % 2)
            self._zero_ns = self._last_ns = stamp_ns
            self._held = self._fitted(image)
            return
        tick = self._tick(stamp_ns)
        if tick > self._held_tick:
            for _ in range(tick - self._held_tick):
                self._put(self._held)
            self._held_tick = tick
        self._held = self._fitted(image)

    def close(self) -> None:
        """Writes what is held and completes the file; without any frame no file is left."""
        if self.problem is None and self._held is not None:
            self._put(self._held)
        self._held = None
        if self._writer is not None:
            self._writer.release()
            self._writer = None
        if self.frames == 0 and self.path.exists() and self.path.stat().st_size == 0:
            self.path.unlink()

    def _check(self, fps: float | None) -> None:
        if self.path.suffix.lower() not in _CODECS:
            known = ", ".join(_CODECS)
            raise UserError(f"annotate {self.path}: no video format of that name; end it in one of {known}")
        if fps is not None and not 0 < fps <= 240:
            raise UserError(f"annotate {self.path}: {fps} frames per second; give a rate between 0 and 240")
        if not self.path.parent.is_dir():
            raise UserError(
                f"annotate {self.path}: the folder {self.path.parent} does not exist; create it or name another file"
            )
        if shutil.disk_usage(self.path.parent).free < _ENOUGH_TO_OPEN:
            raise UserError(f"annotate {self.path}: the disk is full; free some space or name a file on another disk")
        try:
            self.path.open("wb").close()
        except OSError as error:
            raise UserError(f"annotate {self.path}: {error.strerror}; name a file that you may write") from error

    def _tick(self, stamp_ns: int) -> int:
        """The tick of the file's clock on which a stamp falls."""
        step_ns = stamp_ns - self._last_ns
        self._last_ns = stamp_ns
        if self._fps is None:
            self._fps = rate_from_gap(step_ns)
        longest = round(_LONGEST_HOLD_S * 1e9)
        if step_ns <= 0 or step_ns > longest:  # another clock from here on, or a pause
            held_until = self._zero_ns + round(self._held_tick * 1e9 / self._fps)
            self._zero_ns += stamp_ns - held_until - (longest if step_ns > 0 else round(1e9 / self._fps))
        return round((stamp_ns - self._zero_ns) * self._fps / 1e9)

    def _put(self, image: npt.NDArray[Any]) -> None:
        if self.problem is not None:
            return
        if self._writer is None:
            self._fps = self._fps or _FALLBACK_FPS
            fourcc = cv2.VideoWriter.fourcc(*_CODECS[self.path.suffix.lower()])
            self._writer = cv2.VideoWriter(str(self.path.absolute()), cv2.CAP_FFMPEG, fourcc, self._fps, self._size)
            if not self._writer.isOpened():
                self._fail(
                    f"annotate {self.path}: no encoder takes {self._size[0]}x{self._size[1]} at {self._fps:g} fps"
                )
                return
        if self.frames % 16 == 0 and shutil.disk_usage(self.path.parent).free < _ENOUGH_TO_GO_ON:
            self._fail(f"annotate {self.path}: the disk is full; the video ends after {self.frames} frames")
            return
        self._writer.write(image)
        self.frames += 1

    def _fail(self, problem: str) -> None:
        self.problem = problem
        if self._writer is not None:
            self._writer.release()
            self._writer = None
        self._on_problem(problem)

    def _fitted(self, image: UInt8Array) -> UInt8Array:
        """BGR of the file's size: grown by a pixel where odd, scaled with black bars where another size."""
        width, height = self._size
        h, w = image.shape[:2]
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        border, value = cv2.BORDER_REPLICATE, (0, 0, 0)
        if (w + w % 2, h + h % 2) != self._size:
            scale = min(width / w, height / h)
            w, h = max(1, round(w * scale)), max(1, round(h * scale))
            bgr = cv2.resize(bgr, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
            border = cv2.BORDER_CONSTANT
            top, left = (height - h) // 2, (width - w) // 2
        else:
            top = left = 0
        if (w, h) != self._size:
            bgr = cv2.copyMakeBorder(bgr, top, height - h - top, left, width - w - left, border, value=value)
        return np.asarray(bgr, np.uint8)


def rate_from_gap(gap_ns: int) -> float:
    """Frames per second from the time between two frames: a common rate if one is near, between 1 and 60."""
    if gap_ns <= 0:
        return _FALLBACK_FPS
    fps = min(max(1e9 / gap_ns, 1.0), 60.0)
    nearest = min(_COMMON_RATES, key=lambda rate: abs(rate - fps))
    return nearest if abs(nearest - fps) <= 0.0005 * fps else round(fps, 3)
