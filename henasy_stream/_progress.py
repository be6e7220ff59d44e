"""How far something is that takes longer than a second: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from henasy_stream.runtime.log import open_console

Counted = Literal["things", "bytes", "shares", "time"]


class Bar:
    """A context manager; the bar is gone when it ends.

    `drawn` says whether it is: there is a terminal, and no other bar on it.

    Args:
        what: the words before the bar.
        say: takes lines such as "3 of 12 layers", without those words, where there is no terminal; None: nothing there.
        counted: "things", "bytes", "shares" (0 to 1), or "time" alone, when nobody knows how long it takes.
        every_s: seconds between two lines, and before the first.
        console: where the bar is drawn; stderr when None.
    """

    _one_is_drawn = False

    def __init__(
        self,
        what: str,
        say: Callable[[str], None] | None = None,
        *,
        counted: Counted = "things",
        every_s: float = 5.0,
        console: Console | None = None,
    ) -> None:
        console = console or open_console()
        columns: dict[Counted, list[ProgressColumn]] = {
            "things": [MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()],
            "bytes": [DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()],
            "shares": [TaskProgressColumn(), TimeElapsedColumn()],
            "time": [TimeElapsedColumn()],
        }
        self._say = say
        self._counted = counted
        self._every_s = every_s
        self.drawn = console.is_terminal and not Bar._one_is_drawn
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            *columns[counted],
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
            disable=not self.drawn,
        )
        self._task = self._progress.add_task(what, total=None, note="")
        self._due = time.monotonic() + every_s

    def __enter__(self) -> Bar:
        if self.drawn:
            Bar._one_is_drawn = True
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.drawn:
            self._progress.stop()
            Bar._one_is_drawn = False

    def show(self, done: float, total: float | None, note: str = "") -> None:
        """So much of the total is done; `note` comes after the figures."""
        self._progress.update(self._task, completed=done, total=total, note=note)
        if self._say is not None and not self.drawn and time.monotonic() >= self._due:
            self._due = time.monotonic() + self._every_s
            self._say(f"{self._amount(done, total)} {note}".rstrip())

    def _amount(self, done: float, total: float | None) -> str:
        if self._counted == "shares":
            return f"{done:.0%}"
        return f"{done:.0f}" + (f" of {total:.0f}" if total else "")
