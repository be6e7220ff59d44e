"""The record as MCAP, for Foxglove, ROS's tools and `--source bag:`."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from henasy_stream.errors import UserError
from henasy_stream.sinks import convert
from henasy_stream.sinks.mcap_stream import McapStream, need_mcap
from henasy_stream.sinks.messages import Message
from henasy_stream.types import Perception

_log = logging.getLogger(__name__)

FLUSH_S = 2.0
"""So much a killed process may lose, or a chunk of a megabyte if that is less."""

_ENOUGH_TO_OPEN, _ENOUGH_TO_GO_ON = 16_000_000, 8_000_000  # bytes free; the index is written when the file is closed


class McapSink:
    """Writes every message, the masks of every hop and, if asked, every frame.

    A message sink and an output of perceptions in one, for one file; both may be called from several threads.  A file
    that is there already is replaced.  When the disk is nearly full the file is completed, the problem is reported
    once, and recording ends; the node goes on.

    Args:
        path: of the file; its folder must exist.
        frames: record the frames as JPEG.
        on_problem: called once with a line for the user; logs an error when None.

    Raises:
        UserError: the file cannot be created there, the disk is full, or the package mcap is not installed.
    """

    def __init__(
        self, path: str | Path, *, frames: bool = False, on_problem: Callable[[str], None] | None = None
    ) -> None:
        self.path = Path(path)
        self.problem: str | None = None
        self.not_sent = 0
        self._frames = frames
        self._on_problem = on_problem or _log.error
        self._lock = threading.Lock()
        self._closed = False
        need_mcap()
        self._out = _open(self.path)
        try:
            self._stream = McapStream(self._out)
        except OSError as error:
            self._out.file.close()
            raise UserError(f"record {self.path}: {error.strerror}; name another file") from error
        self._whole = self._out.tell()
        self._flush_due = time.monotonic() + FLUSH_S

    def send(self, batch: Sequence[Message]) -> None:
        """Appends the messages; counts them as not sent once recording has ended."""
        with self._lock:
            if self.problem is not None or self._closed or not self._attempt(lambda: self._stream.messages(batch)):
                self.not_sent += len(batch)

    def write(self, perception: Perception) -> None:
        """Appends the frame, if frames are recorded, and the masks of a fresh result."""
        jpeg = convert.jpeg(perception.frame) if self._frames and self.problem is None else None
        with self._lock:
            if self.problem is not None or self._closed:
                return
            if jpeg is not None and not self._attempt(lambda: self._stream.frame(perception.frame, jpeg)):
                return
            if perception.fresh:
                self._attempt(lambda: self._stream.masks(perception))

    def close(self) -> None:
        """Completes the file; calling it again does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self.problem is None:
                self._attempt(self._stream.finish)
            self._out.file.close()

    def _attempt(self, action: Callable[[], None]) -> bool:
        try:
            action()
            self._whole = self._out.tell()
            if not self._closed and time.monotonic() >= self._flush_due:
                self._flush_due = time.monotonic() + FLUSH_S
                self._stream.flush()
                self._whole = self._out.tell()
                if shutil.disk_usage(self.path.parent).free < _ENOUGH_TO_GO_ON:
                    self._stream.finish()
                    self._end("the disk is full; the recording is complete up to here")
        except OSError as error:
            if self._out.can_cut:
                self._out.file.truncate(self._whole)
            self._end(f"{error.strerror}; what was recorded before can be read")
            return False
        return True

    def _end(self, why: str) -> None:
        self.problem = f"record {self.path}: {why}. Make room and start again with another --record file"
        self._on_problem(self.problem)


class _WholeWrites:
    """A file without a buffer of its own: what was written is with the operating system, all of it or an error."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.can_cut = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        self._written = 0

    def write(self, data: Any, /) -> int:
        rest = memoryview(data)
        while rest:
            rest = rest[self.file.write(rest) :]
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        """Nothing is held."""


def _open(path: Path) -> _WholeWrites:
    if not path.parent.is_dir():
        raise UserError(f"record {path}: the folder {path.parent} does not exist; create it or name another file")
    if shutil.disk_usage(path.parent).free < _ENOUGH_TO_OPEN:
        raise UserError(f"record {path}: the disk is full; free some space or name a file on another disk")
    try:
        return _WholeWrites(path.open("wb", buffering=0))
    except OSError as error:
        raise UserError(f"record {path}: {error.strerror}; name a file that you may write") from error
