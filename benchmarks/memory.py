"""Whether memory creeps up: resident memory after 1,000 frames against after 100."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice

import psutil

from benchmarks import Result

EARLY, LATE = 100, 1000


def run() -> Iterator[Result]:
    """Measured in a process of its own, where nothing else has been allocated."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.memory"], capture_output=True, text=True, check=True)
    early, late = json.loads(done.stdout)
    yield Result(name=f"resident memory after {EARLY} frames", value=early / 1e6, unit="MB")
    yield Result(name=f"resident memory after {LATE} frames", value=late / 1e6, unit="MB")
    yield Result(name="growth", value=(late - early) / 1e6, unit="MB", note=f"over {LATE - EARLY} frames")


def _measure() -> tuple[int, int]:
    from benchmarks._node import frames

    process, running = psutil.Process(), frames()
    for _ in islice(running, EARLY):
        pass
    early = process.memory_info().rss
    for _ in islice(running, LATE - EARLY):
        pass
    return early, process.memory_info().rss


if __name__ == "__main__":
    print(json.dumps(_measure()))
