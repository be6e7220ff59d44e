"""How old a frame is when its result is published."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from benchmarks import Result
from benchmarks._node import SOURCE, frames

FRAMES = 900


def run() -> Iterator[Result]:
    """Percentiles over the frames at which a window ran, and the time that an average frame takes."""
    measured = list(islice(frames(), FRAMES))
    windows = np.array([seconds for fresh, seconds in measured if fresh]) * 1e3
    for q in (50, 95, 99):
        note = f"from read to published, {len(windows)} windows of {SOURCE}"
        yield Result(name=f"frame latency p{q}", value=float(np.percentile(windows, q)), unit="ms", note=note)
    mean = float(np.mean([seconds for _, seconds in measured]))
    yield Result(name="frames a second", value=1 / mean, unit="1/s", note="rendering the world not counted")
