"""A thread that takes frames off a device as they come, and the one slot in which the newest waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Slot(Generic[T]):
    """Holds the newest item only.  An item that is replaced before anybody took it counts in `dropped`.

    Args:
        carry: makes the new item inherit what must not be lost with the old one; called as `carry(old, new)`.
    """

    def __init__(self, carry: Callable[[T, T], T] | None = None) -> None:
        self.dropped = 0
        self._carry = carry
        self._item: T | None = None
        self._condition = threading.Condition()

    def put(self, item: T) -> None:
        """Leaves `item` for the reader and wakes it; never blocks."""
        with self._condition:
            if self._item is not None:
                self.dropped += 1
                if self._carry is not None:
                    item = self._carry(self._item, item)
            self._item = item
            self._condition.notify()

    def take(self, timeout_s: float) -> T | None:
        """The item, or None if none came within the timeout."""
        with self._condition:
            if self._item is None and timeout_s > 0:
                self._condition.wait_for(lambda: self._item is not None, timeout_s)
            item, self._item = self._item, None
            return item


class Grabber:
    """One daemon thread that runs `work(grabber)` until the work ends or sees `stopping`.

    A driver may hang inside a call that nothing can interrupt: `stop` then gives up waiting, and the thread ends by
    itself when the call returns.
    """

    def __init__(self, work: Callable[[Grabber], None], name: str) -> None:
        self._stop = threading.Event()
        self._beat = time.monotonic()
        self.allowance_s = float("inf")
        self._thread = threading.Thread(target=work, args=(self,), name=name, daemon=True)
        self._thread.start()

    @property
    def stopping(self) -> bool:
        """Whether the work is to end."""
        return self._stop.is_set()

    @property
    def running(self) -> bool:
        """Whether the thread exists, perhaps inside a call that hangs."""
        return self._thread.is_alive()

    @property
    def hangs(self) -> bool:
        """Whether the work has not called `alive` within the time it allowed itself, or died of an exception."""
        return not self.stopping and (not self.running or time.monotonic() - self._beat > self.allowance_s)

    def alive(self, allowance_s: float) -> None:
        """Called by the work before anything that may hang; it has `allowance_s` seconds until the next call."""
        self._beat, self.allowance_s = time.monotonic(), allowance_s

    def excuse(self, seconds: float) -> None:
        """Called by whoever watches: it was away itself for so long, so the work's silence then says nothing."""
        self._beat = min(self._beat + seconds, time.monotonic())

    def wait(self, seconds: float) -> None:
        """Called by the work: sleeps, but no longer than until `stop`."""
        self.alive(seconds + 1.0)
        self._stop.wait(seconds)

    def abandon(self) -> None:
        """Tells the work to end, without waiting for it."""
        self._stop.set()

    def stop(self, timeout_s: float = 0.5) -> bool:
        """Tells the work to end and waits; False if it still runs after the timeout."""
        self._stop.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()
