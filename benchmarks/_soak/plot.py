"""The picture of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks._soak.measures import BINS


def draw(measured: dict[str, Any], path: Path) -> None:
    """Latency and memory over the run, by 5 %."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    steps = measured["steps"]
    at = [(i + 0.5) * steps / BINS for i in range(BINS)]
    figure, panels = plt.subplots(3, 1, figsize=(8, 7), sharex=True, layout="constrained")
    wall, cpu, memory = panels
    # Apart, because the wall clock shows the machine's other work, which would hide all else.
    for panel, clock, colour in ((wall, "wall_ms", "tab:grey"), (cpu, "cpu_ms", "tab:blue")):
        panel.plot(at, measured[clock]["p99"], color=colour, marker="o", label="p99")
        panel.plot(at, measured[clock]["p50"], color=colour, linestyle=":", label="median")
        panel.set_ylabel(f"window, {'wall clock' if panel is wall else 'CPU time'}, ms")
        panel.set_ylim(bottom=0)
        panel.legend(ncols=2, fontsize="small")
    memory.plot(at, measured["resident_MB"], color="tab:red", marker="o")
    memory.set_ylabel("resident MB, largest")
    memory.set_ylim(0, 1.2 * max(measured["resident_MB"]))
    memory.set_xlabel("step")
    memory.set_xlim(0, steps)
    faults = sum(measured["faults"].values())
    figure.suptitle(f"{steps:,} steps, {measured['windows']:,} windows, {faults:,} faults, seed {measured['seed']}")
    for panel in panels:
        panel.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
