"""How far a builder is, from what it tells of phases that lie within each other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_EVERY_S = 0.2


@dataclass(kw_only=True)
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Phases:
    """Told by the builder's threads; tells the share that is done, which never falls, and the innermost phase.

    Args:
        tell: given both, at most five times a second.
        monotonic: the clock for that.
    """

    def __init__(self, tell: Callable[[float, str], None], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._open: dict[str, _Phase] = {}
        self._share = 0.0
        self._due = float("-inf")

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps begins."""
        with self._lock:
            self._open[name] = _Phase(parent=parent, steps=max(steps, 1))
            self._say(name)

    def step(self, name: str, index: int) -> None:
        """A step of it is done, counted from 0."""
        with self._lock:
            if name in self._open:
                self._open[name].done = index + 1
                self._say(name)

    def finish(self, name: str) -> None:
        """It ends, perhaps before its last step."""
        with self._lock:
            self._open.pop(name, None)

    def _say(self, name: str) -> None:
        roots = [self._within(root) for root, phase in self._open.items() if phase.parent not in self._open]
        self._share = max([self._share, *roots])
        if self._monotonic() >= self._due:
            self._due = self._monotonic() + _EVERY_S
            self._tell(self._share, name)

    def _within(self, name: str) -> float:
        phase = self._open[name]
        inner = [self._within(other) for other, child in self._open.items() if child.parent == name and other != name]
        return min((phase.done + max(inner, default=0.0)) / phase.steps, 1.0)
