"""How often something happens, over the last seconds, in fixed memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class Rate:
    """Events a second over the last `span_s`.

    One thread adds, another may ask.

    Args:
        span_s: seconds that are looked back.
        most: events that are remembered at most.
        monotonic: the clock.
    """

    def __init__(
        self, span_s: float = 5.0, most: int = 1024, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._span_s = span_s
        self._monotonic = monotonic
        self._times: deque[float] = deque(maxlen=most)

    def add(self) -> None:
        """It happened, now."""
        self._times.append(self._monotonic())

    def per_second(self) -> float:
        """Events a second; 0 when there were fewer than two."""
        now = self._monotonic()
        recent = [moment for moment in tuple(self._times) if now - moment <= self._span_s]
        if len(recent) < 2:
            return 0.0
        # While the last event is longer ago than events are apart, the rate falls.
        spacing = (recent[-1] - recent[0]) / (len(recent) - 1)
        elapsed = max(recent[-1] - recent[0], now - recent[0] - spacing)
        return (len(recent) - 1) / elapsed if elapsed > 0 else 0.0
