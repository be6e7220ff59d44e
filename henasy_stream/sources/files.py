"""Video files, decoded by OpenCV's own FFmpeg: every frame in order, stamped with its presentation time.

Orientation metadata is obeyed.  When the resolution changes inside a file, OpenCV scales every later picture to the
first size (seen with 4.8 and 5.0); should a capture hand over another size, `Frame.reset` says so.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from henasy_stream.errors import UserError
from henasy_stream.sources import _containers, _paths
from henasy_stream.sources._capture import Capture, retrieve_rgb
from henasy_stream.sources._opencv import cv2
from henasy_stream.sources._stamps import MediaClock, plausible_fps
from henasy_stream.sources.base import EndOfSource, SourceBase
from henasy_stream.sources.uri import redact
from henasy_stream.types import Frame, UInt8Array

_DAMAGED_IN_A_ROW = 250
_STALLED_S = 1.0


def _open_ffmpeg(target: str) -> Capture:
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 10_000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 10_000]
    return cv2.VideoCapture(target, cv2.CAP_FFMPEG, timeouts)


class FileSource(SourceBase):
    """A video file, or one behind an http URL: not live, every frame in order, the first at 0 ns.

    A file that ends early gives what can be decoded; how much is missing goes into `notices`.

    Raises:
        UserError: missing, empty, unreadable, no video, or not a single frame can be decoded.
    """

    def __init__(self, uri: str, *, open_capture: Callable[[str], Capture] = _open_ffmpeg) -> None:
        super().__init__(redact(uri))
        is_url = "://" in uri
        self._container = _containers.Container(kind="other") if is_url else _check(Path(uri).expanduser())
        # An absolute path, because FFmpeg takes what stands before a colon for a protocol.
        self._capture = open_capture(uri if is_url else str(Path(uri).expanduser().absolute()))
        self._closed = False
        self._failed = 0
        self._size: tuple[int, ...] | None = None
        if not self._capture.isOpened():
            self.close()
            raise self._undecodable()
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        fps = plausible_fps(self._capture.get(cv2.CAP_PROP_FPS))
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._count = round(count) if 0 < count < 1e9 else 0
        self._clock = MediaClock(fps)
        self._next = self._decode()
        if self._next is None:
            self.close()
            raise UserError(f"{self.uri}: no frame of it can be decoded; try it in a player, or re-encode it")

    def read(self, timeout_s: float = 1.0) -> Frame | None:
        """The next frame; waits for the decoder whatever the timeout.

        Raises:
            EndOfSource: after the last frame.
        """
        if self._closed:
            raise EndOfSource(self.uri)
        picture = self._next or self._decode()
        self._next = None
        if picture is None:
            self._report_end()
            self.close()
            raise EndOfSource(self.uri)
        image, raw_ms = picture
        stamp_ns, reset = self._clock.stamp(raw_ms)
        if self._clock.missing == 1:
            fps = f"{self._clock.fps:g} frames per second"
            self._notice(f"{self.uri}: no presentation time from frame {self._frames_in} on; stamps follow {fps}")
        if self._size not in (None, image.shape):
            reset = f"resolution changed to {image.shape[1]}x{image.shape[0]}"
        self._size = image.shape
        frame = Frame(image=image, stamp_ns=stamp_ns, index=self._frames_in, source=self.uri, reset=reset)
        self._frames_in += 1
        return frame

    def close(self) -> None:
        """Closes the file."""
        self._closed = True
        self._capture.release()

    def _decode(self) -> tuple[UInt8Array, float] | None:
        refused = 0
        while True:
            started = time.monotonic()
            if self._capture.grab():
                refused = 0
                raw_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
                image = retrieve_rgb(self._capture)
                if image is not None:
                    return image, raw_ms
                self._failed += 1
                continue
            # OpenCV says the same at the end and at a damaged packet, behind which a further call goes on.
            refused += 1
            if refused > _DAMAGED_IN_A_ROW or time.monotonic() - started > _STALLED_S:
                return None

    def _report_end(self) -> None:
        done, lost = self._frames_in, self._count - self._frames_in
        if self._container.cut_off:
            about = "" if self._container.counts_frames else "about "
            rest = f"{about}{lost} of {about}{self._count} frames are missing" if lost > 0 else "the rest is missing"
            self._notice(f"{self.uri}: the file is cut off: {done} frames decoded, {rest}")
        elif self._failed or (self._container.counts_frames and lost > 0):
            gone, total = max(lost, self._failed), max(self._count, done + self._failed)
            self._notice(
                f"{self.uri}: {gone} of {total} frames did not decode (damaged, or cut out by the file's edit list)"
            )

    def _undecodable(self) -> UserError:
        if "://" in self.uri:
            return UserError(f"{self.uri}: cannot be opened as a video; check the address and the network")
        if not self._container.has_index:
            return UserError(
                f"{self.uri}: its index (moov) is missing, the recording was cut off before it was closed; "
                "rebuild it with a tool such as untrunc"
            )
        name = re.sub(r"\.[^./]*$", "", self.uri)
        return UserError(
            f"{self.uri}: not a video that can be decoded; try it in a player, or convert it: "
            f"ffmpeg -i {self.uri} {name}_converted.mp4"
        )


def _check(path: Path) -> _containers.Container:
    try:
        if not path.exists():
            raise _paths.missing(path)
        if not path.is_file():
            raise UserError(f"{path}: not a regular file; give a video file")
        if path.stat().st_size == 0:
            raise UserError(f"{path}: the file is empty; record or copy it again")
        container = _containers.inspect(path)
    except OSError as error:
        raise _paths.unreadable(path, error) from error
    if container.kind == "text":
        raise UserError(f"{path}: not a video but text; give a video file (mp4, avi, mkv, webm, mov, gif)")
    return container
