"""What a run is judged by: series in memory of fixed size, and the bounds on them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import psutil

from benchmarks._soak.source import FaultySource
from henasy_stream.runtime.monitor import Monitor
from henasy_stream.types import Perception

if TYPE_CHECKING:
    from henasy_stream.stream.state import StreamState

BINS = 20
"""Of 5 % each; the first is warming up and is not judged."""
SAMPLES = 1000
SAVES = 200
GROWTH = 0.02
P99_RATIO = 1.5
"""Of the CPU time of a window, last quarter against first; the wall clock belongs to the whole machine."""

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One bound: what it says, what was found, and whether that is within."""

    name: str
    found: str
    ok: bool


class Series:
    """Written by the run, step by step; all memory is taken and touched at once.

    wall_ms, cpu_ms: (N,) of every step, from read to published.  fresh: (N,) whether a window ran.  memory: (S, 4) of
    step, resident bytes, open files, threads.  states: (V, 3) of step, bytes of the state's arrays, bytes saved.
    """

    def __init__(self, steps: int, folder: Path) -> None:
        self.steps = 0
        self.wall_ms, self.cpu_ms = np.full(steps, np.nan), np.full(steps, np.nan)
        self.fresh = np.full(steps, fill_value=False)
        self.memory = np.full((SAMPLES + 2, 4), np.nan)
        self.states = np.full((SAVES + 2, 3), np.nan)
        self._file = folder / "state.npz"
        self._process = psutil.Process()
        self._sample_every, self._save_every = max(1, steps // SAMPLES), max(1, steps // SAVES)

    def step(self, source: FaultySource, perception: Perception) -> None:
        """Notes that a step's result is published."""
        wall, cpu = source.handed
        at = self.steps
        self.wall_ms[at], self.cpu_ms[at] = (perf_counter() - wall) * 1e3, (thread_time() - cpu) * 1e3
        self.fresh[at] = perception.fresh
        if at % self._sample_every == 0:
            process = self._process
            self.memory[at // self._sample_every] = (
                at,
                process.memory_info().rss,
                process.num_fds(),
                process.num_threads(),
            )
        self.steps += 1

    def state(self, state: StreamState) -> None:
        """Notes the size of the state after a step."""
        if self.steps % self._save_every == 0:
            state.save(self._file)
            row = self.steps // self._save_every
            self.states[row] = (self.steps, array_bytes(state), self._file.stat().st_size)


class WatchedMonitor(Monitor):
    """A monitor that shows the states to the series."""

    def __init__(self, source: FaultySource, series: Series) -> None:
        super().__init__(source)
        self._series = series

    def succeeded(self, state: StreamState) -> None:
        """See `Monitor.succeeded`."""
        super().succeeded(state)
        self._series.state(state)


class Probe:
    """The last output: notes when a step's result has been published."""

    def __init__(self, source: FaultySource, series: Series) -> None:
        self._source, self._series = source, series

    def write(self, perception: Perception) -> None:
        """See `Output.write`."""
        self._series.step(self._source, perception)

    def close(self) -> None:
        """Nothing to finish."""


def array_bytes(value: object) -> int:
    """Bytes of all arrays in a tree of dataclasses but those of `last`, whose masks are as many as there are tracks."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, tuple):
        return sum(map(array_bytes, value))
    if not dataclasses.is_dataclass(value):
        return 0
    return sum(array_bytes(getattr(value, f.name)) for f in dataclasses.fields(value) if f.name != "last")


def binned(values: Float64Array, q: float) -> Float64Array:
    """(BINS,) percentile `q` of each 5 % of the values (N,); NaN is left out."""
    return np.array([np.nanpercentile(part, q) for part in np.array_split(values, BINS)])


def windows_only(series: Series, values: Float64Array) -> Float64Array:
    """`values` of the steps that ran a window, NaN elsewhere."""
    return np.where(series.fresh, values, np.nan)[: series.steps]


def later(table: Float64Array, steps: int) -> tuple[Float64Array, Float64Array]:
    """Rows of a table whose first column is a step, but the first 5 %: all of them, and those of the next 5 %."""
    rows = table[~np.isnan(table[:, 0])]
    judged = rows[rows[:, 0] >= steps / BINS]
    return judged, judged[judged[:, 0] < 2 * steps / BINS]


def series_checks(series: Series) -> list[Check]:
    """The bounds on memory, state and latency."""
    memory, early = later(series.memory, series.steps)
    rss = float(np.median(early[:, 1]))
    growth = float(memory[:, 1].max()) / rss - 1
    states, _ = later(series.states, series.steps)
    half = len(states) // 2
    saved = states[half:, 2].max() / states[:half, 2].max() - 1
    p99 = binned(windows_only(series, series.cpu_ms), 99)
    quarter = BINS // 4
    ratio = float(np.median(p99[-quarter:]) / np.median(p99[1 : 1 + quarter]))
    return [
        Check(
            name=f"resident memory grows less than {GROWTH:.0%} after the first 5 %",
            found=f"{growth:+.2%} at its largest, of {rss / 1e6:.0f} MB",
            ok=growth < GROWTH,
        ),
        Check(
            name="the state's arrays keep their size",
            found=f"{states[:, 1].min():.0f} to {states[:, 1].max():.0f} bytes",
            ok=bool(states[:, 1].min() == states[:, 1].max()),
        ),
        Check(
            name="a saved state grows less than 5 %, largest of the second half against the first",
            found=f"{saved:+.2%}, at most {states[:, 2].max():.0f} bytes",
            ok=bool(saved < 0.05),
        ),
        Check(
            name=f"CPU time of a window p99, last quarter against first, within {P99_RATIO}",
            found=f"{ratio:.2f}",
            ok=ratio < P99_RATIO,
        ),
    ]


def summary(series: Series) -> dict[str, Any]:
    """The series by 5 %, for the JSON and the plot."""
    wall, cpu = windows_only(series, series.wall_ms), windows_only(series, series.cpu_ms)
    rows = series.memory[~np.isnan(series.memory[:, 0])]
    bins = np.minimum((rows[:, 0] * BINS / series.steps).astype(int), BINS - 1)
    return {
        "windows": int(series.fresh.sum()),
        "wall_ms": {f"p{q}": _rounded(binned(wall, q)) for q in (50, 99)},
        "cpu_ms": {f"p{q}": _rounded(binned(cpu, q)) for q in (50, 99)},
        "resident_MB": [round(float(rows[bins == b, 1].max()) / 1e6, 2) for b in range(BINS)],
        "open_files": [int(rows[bins == b, 2].max()) for b in range(BINS)],
        "threads": [int(rows[bins == b, 3].max()) for b in range(BINS)],
    }


def _rounded(values: Float64Array) -> list[float]:
    return [round(float(value), 3) for value in values]
