"""The record: a text file with one message a line."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from henasy_stream.errors import UserError
from henasy_stream.sinks import wire
from henasy_stream.sinks.messages import Message

_log = logging.getLogger(__name__)


class JsonlSink:
    """Writes every message as one JSON line: the body's keys plus `topic`.  Binary parts are not recorded.

    A file that is there already is replaced.  Each line goes to the operating system in one piece, so a reader may
    follow the file and a killed process leaves whole lines.  When a line cannot be written (disk full, quota), the file
    is cut back to its last whole line, the problem is reported once and recording ends; the node goes on.

    Args:
        path: of the file; its folder must exist.
        on_problem: called once with a line for the user; logs an error when None.

    Raises:
        UserError: the file cannot be created there.
    """

    def __init__(self, path: str | Path, *, on_problem: Callable[[str], None] | None = None) -> None:
        self.path = Path(path)
        self.problem: str | None = None
        self.lines = 0
        self.not_sent = 0
        self._on_problem = on_problem or _log.error
        self._written = 0
        folder = self.path.parent
        if not folder.is_dir():
            raise UserError(f"record {self.path}: the folder {folder} does not exist; create it or name another file")
        try:
            self._file = self.path.open("wb", buffering=0)
        except OSError as error:
            raise UserError(f"record {self.path}: {error.strerror}; name a file that you may write") from error
        self._can_cut = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)

    def send(self, batch: Sequence[Message]) -> None:
        """Appends the messages; counts them as not sent once recording has ended."""
        for message in batch:
            if self.problem is None:
                self._append(wire.to_json_line(message))
            else:
                self.not_sent += 1

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _append(self, line: bytes) -> None:
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._give_up(error)
            return
        self._written += len(line)
        self.lines += 1

    def _give_up(self, error: OSError) -> None:
        self.not_sent += 1
        if self._can_cut:
            self._file.truncate(self._written)
        self.problem = (
            f"record {self.path}: {error.strerror}; the first {self.lines} messages are kept, later ones are not "
            "recorded: make room and start again with another --record file"
        )
        self._on_problem(self.problem)
