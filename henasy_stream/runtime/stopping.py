"""Ctrl-C and SIGTERM."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any


class StopOnSignal:
    """Turns Ctrl-C and SIGTERM, while it is entered, into a wish that the loop looks for.

    `reason` says who wished, and is empty until somebody did.  After the first signal the system's own handling of
    Ctrl-C is back, so that a second one ends the process even when it hangs inside a driver's call.
    """

    # No threading.Event: setting one in a signal handler can deadlock with a wait in the same thread.
    _SLICE_S = 0.05

    def __init__(self) -> None:
        self.reason = ""
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether somebody asked for the end."""
        return bool(self.reason)

    def request(self, reason: str) -> None:
        """Asks for the end; the first reason stays."""
        self.reason = self.reason or reason

    def sleep_until(self, deadline: float) -> None:
        """Sleeps until `time.monotonic()` reaches the deadline, or the end is asked for."""
        while not self.reason and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, self._SLICE_S))

    def __enter__(self) -> StopOnSignal:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.request("Ctrl-C" if number == signal.SIGINT else "SIGTERM")
