"""How the node fared since the last look: rates and latencies for the page's graphs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from henasy_stream.web.messages import Sample

if TYPE_CHECKING:
    from henasy_stream.runtime.monitor import Monitor


class Gauge:
    """Reads a monitor's counters and latencies; each call of `sample` is about the time since the one before."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._at = time.monotonic()
        self._counts = self._read()
        self._marks = monitor.latency.counts

    def sample(self) -> Sample:
        """Rates and latencies since the last call."""
        now, counts = time.monotonic(), self._read()
        seconds = max(now - self._at, 1e-3)
        rates = [max(0, new - old) / seconds for new, old in zip(counts, self._counts, strict=True)]
        recent = self._monitor.latency.since(self._marks)
        self._at, self._counts, self._marks = now, counts, self._monitor.latency.counts
        ages = recent.pop("age", None)
        return Sample(
            unix_ms=time.time_ns() // 1_000_000,
            stage_ms={stage: round(float(values.mean()) * 1e3, 2) for stage, values in recent.items()},
            age_ms=None if ages is None else round(max(0.0, float(ages.max())) * 1e3, 2),
            in_fps=round(rates[0], 2),
            used_fps=round(rates[1], 2),
            hops=round(rates[2], 2),
            dropped=round(rates[3], 2),
        )

    def _read(self) -> tuple[int, int, int, int]:
        monitor, status = self._monitor, self._monitor.status()
        return status.frames_in, monitor.steps, monitor.windows, status.frames_dropped
