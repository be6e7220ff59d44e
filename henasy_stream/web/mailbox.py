"""Between the node's threads, which never wait, and the page's thread: the newest frame, and a few results."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from henasy_stream.types import Frame, Perception

KEPT_RESULTS = 64
_NO_IMAGE = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outcome:
    """A perception without its picture, whose size in pixels is kept."""

    perception: Perception
    width: int
    height: int


class Mailbox:
    """One slot for the newest frame; a frame that nobody took is replaced.  Results wait in order, a few of them.

    Args:
        wake: called from the node's threads when something new is there; must be quick.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.frames = 0
        self.missed_results = 0
        self._wake = wake
        self._lock = threading.Lock()
        self._frame: Frame | None = None
        self._results: deque[Outcome] = deque()
        self._woken = False

    def put_frame(self, frame: Frame) -> None:
        """Leaves a frame."""
        with self._lock:
            self.frames += 1
            self._frame = frame
        self._ring()

    def put_result(self, perception: Perception) -> None:
        """Leaves a result; with too many waiting the oldest is lost and counted."""
        frame = perception.frame
        light = replace(perception, frame=replace(frame, image=_NO_IMAGE))
        with self._lock:
            if len(self._results) == KEPT_RESULTS:
                self._results.popleft()
                self.missed_results += 1
            self._results.append(Outcome(perception=light, width=frame.width, height=frame.height))
        self._ring()

    def take(self) -> tuple[int, Frame | None, list[Outcome]]:
        """How many frames came so far, the newest if it was not taken before, and the results since the last call."""
        with self._lock:
            self._woken = False
            frame, self._frame = self._frame, None
            results = list(self._results)
            self._results.clear()
            return self.frames, frame, results

    def _ring(self) -> None:
        if not self._woken:  # two rings in a race are one too many, not one too few
            self._woken = True
            self._wake()
