"""Between the node's threads, which never wait, and the page's thread: the newest of all, and a few results."""

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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Mail:
    """What is new: `frames` came so far, `frame` and `perception` are the newest, None if they were taken before.

    `results` are all perceptions since then that say something new; their pictures are black.
    """

    frames: int
    frame: Frame | None
    perception: Perception | None
    results: tuple[Perception, ...]


class Mailbox:
    """One slot for the newest frame and perception, which are replaced.  Results wait in order, a few of them.

    Args:
        wake: called from the node's threads when something new is there; must be quick.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.frames = 0
        self.missed_results = 0
        self._wake = wake
        self._lock = threading.Lock()
        self._frame: Frame | None = None
        self._perception: Perception | None = None
        self._results: deque[Perception] = deque()
        self._woken = False

    def put_frame(self, frame: Frame) -> None:
        """Leaves a frame."""
        with self._lock:
            self.frames += 1
            self._frame = frame
        self._ring()

    def put_perception(self, perception: Perception, *, is_news: bool) -> None:
        """Leaves a perception; with too many news waiting the oldest is lost and counted."""
        with self._lock:
            self._perception = perception
            if is_news:
                if len(self._results) == KEPT_RESULTS:
                    self._results.popleft()
                    self.missed_results += 1
                self._results.append(_without_picture(perception))
        self._ring()

    def take(self) -> Mail:
        """What came since the last call."""
        with self._lock:
            self._woken = False
            mail = Mail(
                frames=self.frames, frame=self._frame, perception=self._perception, results=tuple(self._results)
            )
            self._frame = self._perception = None
            self._results.clear()
            return mail

    def _ring(self) -> None:
        if not self._woken:  # two rings in a race are one too many, not one too few
            self._woken = True
            self._wake()


def _without_picture(perception: Perception) -> Perception:
    frame = perception.frame
    black = np.broadcast_to(np.zeros(3, np.uint8), frame.image.shape)  # one pixel in memory, the size is kept
    return replace(perception, frame=replace(frame, image=black))
