"""stderr, which may be on a full disk or at a terminal that is gone: a node does not die of what it has to say."""

from __future__ import annotations

import contextlib
import io
import os
import sys

from rich.console import Console


class LenientLog(io.TextIOWrapper):
    """Text to a file descriptor, unbuffered; what cannot be written is lost."""

    def __init__(self, descriptor: int) -> None:
        raw = io.FileIO(descriptor, "w", closefd=False)
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", write_through=True)

    def write(self, text: str, /) -> int:
        """Takes the text; returns its length."""
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""
        with contextlib.suppress(OSError):
            super().flush()


def occupy_standard_files() -> None:
    """Opens nothing at all where stdin, stdout or stderr are closed.

    Otherwise the record would get the number of stderr, and whatever a library says there would get into the record.
    """
    lowest_free = os.open(os.devnull, os.O_RDWR)
    while lowest_free < 3:
        lowest_free = os.open(os.devnull, os.O_RDWR)
    os.close(lowest_free)


def open_console() -> Console:
    """A console of rich's on stderr, with lines as long as they are."""
    file = None
    with contextlib.suppress(AttributeError, OSError, ValueError):  # none, or one of a test's that is no file
        file = LenientLog(sys.stderr.fileno())
    return Console(file=file, stderr=True, highlight=False, soft_wrap=True)
