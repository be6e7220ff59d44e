"""A training step against a plain implementation of the same step, in turns and in one process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import torch

from benchmarks import Result
from benchmarks._peak import peak_bytes
from benchmarks._training import step, trainer
from henasy_stream.config import HenasyConfig, TextConfig, VisionConfig

SIZE = HenasyConfig(
    vision=VisionConfig(image_size=112, width=384, heads=6),
    text=TextConfig(width=256, heads=4),
    entity_width=256,
    similarity="scaled_dot",
)
CLIPS = 8
BUDGET_S = 60
MOST_TURNS = 8
CPU = torch.device("cpu")


def run() -> Iterator[Result]:
    """Clips a second on one thread and memory at the peak, at half the paper's width and picture size."""
    what = f"{CLIPS} clips of 4 × 112², width 384, 12 layers, float32, 1 thread; load {os.getloadavg()[0]:.1f}"
    runs = {plain: trainer(SIZE, CLIPS, CPU, plain=plain) for plain in (False, True)}
    for plain in runs:
        step(runs[plain])
    turns: list[dict[bool, float]] = []
    started = time.perf_counter()
    while len(turns) < MOST_TURNS and time.perf_counter() - started < BUDGET_S:
        order = sorted(runs, reverse=bool(len(turns) % 2))
        turns.append({plain: _seconds(partial(step, runs[plain])) for plain in order})
    ours, theirs = (median(turn[plain] for turn in turns) for plain in (False, True))
    yield Result(name="training step", value=CLIPS / ours, unit="clips/s", note=what)
    note = f"towers in the backward pass, texts embedded anew; in turns with ours, median of {len(turns)}"
    yield Result(name="plain training step", value=CLIPS / theirs, unit="clips/s", note=note)
    yield Result(name="training step against plain", value=median(turn[True] / turn[False] for turn in turns), unit="×")
    note = "tensors of a step at their peak, beside weights and optimizer"
    for name, made in (
        ("training step", runs[False]),
        ("plain training step", runs[True]),
        ("training step with recompute", trainer(SIZE, CLIPS, CPU, recompute=True)),
    ):
        step(made)  # the optimizer makes its state in the first step
        yield Result(name=f"memory, {name}", value=peak_bytes(partial(step, made)) / 1e6, unit="MB", note=note)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
