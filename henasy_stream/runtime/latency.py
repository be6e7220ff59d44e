"""How long each stage takes: percentiles over recent steps, in fixed memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

import numpy as np
import numpy.typing as npt

from henasy_stream.sinks.messages import Percentiles

STAGES = ("read", "preprocess", "network", "perception", "sinks", "age")
"""In the order of a frame's way. `age`: from when a frame was taken to when its result was handed to the sinks."""


class Latency:
    """Percentiles by stage over the last `keep` values of each.

    Written by the loop and read by the heartbeat's thread: a reader may miss the newest value, never see half of one.
    """

    def __init__(self, keep: int = 4096) -> None:
        self._rings = {stage: np.empty(keep) for stage in STAGES}
        self._counts = dict.fromkeys(STAGES, 0)

    def add(self, stage: str, seconds: float) -> None:
        """Takes one duration of a stage of `STAGES`."""
        ring = self._rings[stage]
        ring[self._counts[stage] % len(ring)] = seconds
        self._counts[stage] += 1

    def add_all(self, timings: Mapping[str, float]) -> None:
        """Takes the durations of several stages."""
        for stage, seconds in timings.items():
            self.add(stage, seconds)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Takes the duration of the block."""
        start = perf_counter()
        try:
            yield
        finally:
            self.add(stage, perf_counter() - start)

    @property
    def counts(self) -> dict[str, int]:
        """How many durations were taken, by stage."""
        return dict(self._counts)

    def since(self, counts: Mapping[str, int]) -> dict[str, npt.NDArray[np.float64]]:
        """Seconds by stage that were taken since `counts` was read, as many of them as are kept."""
        out = {}
        for stage, ring in self._rings.items():
            end = self._counts[stage]
            if new := min(end - counts[stage], len(ring)):
                out[stage] = ring[np.arange(end - new, end) % len(ring)]
        return out

    def percentiles(self) -> dict[str, Percentiles]:
        """Milliseconds by stage, for the stages that have run."""
        out = {}
        for stage, ring in self._rings.items():
            if count := self._counts[stage]:
                values = np.percentile(ring[: min(count, len(ring))], (50, 95, 99)) * 1e3
                p50, p95, p99 = (max(0.0, float(value)) for value in values)
                out[stage] = Percentiles(p50=p50, p95=p95, p99=p99)
        return out
