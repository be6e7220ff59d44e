"""ONNX Runtime against PyTorch: a step of the demo's networks, the start of a process, the disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch

import henasy_stream as hs
from benchmarks import Result
from benchmarks._installed import megabytes
from export.parity import fields, pictures
from henasy_stream.loading import Model
from henasy_stream.types import UInt8Array

TURNS, STEPS_A_TURN = 40, 4
STARTS = 5
BACKENDS = ("onnxruntime", "torch")
AIM, AIM_START_S = 1.3, 1.5
FIRST_RESULT = """
import json, sys, time
from pathlib import Path
import numpy as np, henasy_stream as hs
model = hs.load("demo", sys.argv[1])
spec = model.spec
model.run_window(np.zeros((spec.num_frames, spec.image_size, spec.image_size, 3), np.uint8))
ended = time.time()
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
assert ("torch" in sys.modules) == (sys.argv[1] == "torch")
print(json.dumps([ended, time.process_time(), int(peak.split()[1]) * 1024 / 1e6]))
"""


def run() -> Iterator[Result]:
    """Steps in seconds of the processor on one thread, so that other work on the machine counts little.

    The backends take turns; ratios are medians over the turns.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from _windows()
        yield from _causal()
    finally:
        torch.set_num_threads(threads)
    yield from _starts()
    yield from _nodes()
    note = "henasy-stream and all that it needs, as pip recorded it here"
    yield Result(name="installed, onnxruntime", value=megabytes(), unit="MB", note=note)
    note = f"henasy-stream[torch], PyTorch {torch.__version__}"
    yield Result(name="installed, torch", value=megabytes("torch"), unit="MB", note=note)


def _windows() -> Iterator[Result]:
    models = {name: hs.load("demo", name) for name in BACKENDS}  # type: ignore[arg-type]
    spec = models["torch"].spec
    frames = pictures(spec.image_size, 4 * TURNS * STEPS_A_TURN)
    for kind, hop in (("no frame shared", spec.num_frames), ("hop 1", 1)):

        def turn(model: Model, index: int, hop: int = hop) -> None:
            for step in range(index * STEPS_A_TURN, (index + 1) * STEPS_A_TURN):
                model.run_window(np.stack(frames[step * hop : step * hop + spec.num_frames]))

        yield from _compared(f"demo window, {kind}", models, turn)
    clips = [np.stack(frames[start : start + spec.num_frames]) for start in range(0, len(frames) - spec.num_frames, 20)]
    apart = max(_apart(models, clip) for clip in clips)
    note = f"any output of {len(clips)} windows"
    yield Result(name="largest difference of onnxruntime from torch", value=apart, unit="", note=note)


def _apart(models: dict[str, Model], clip: UInt8Array) -> float:
    one, other = (fields(model.run_window(clip)) for model in models.values())
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def _causal() -> Iterator[Result]:
    models = {name: hs.load("demo-causal", name) for name in BACKENDS}  # type: ignore[arg-type]
    states = {name: model.initial_state() for name, model in models.items()}
    frames: list[UInt8Array] = pictures(models["torch"].spec.image_size, TURNS * STEPS_A_TURN)

    def turn(model: Model, index: int) -> None:
        name = next(name for name, other in models.items() if other is model)
        for frame in frames[index * STEPS_A_TURN : (index + 1) * STEPS_A_TURN]:
            states[name], _ = model.step(states[name], frame)

    yield from _compared("demo causal step", models, turn)


def _compared(name: str, models: dict[str, Model], turn: Callable[[Model, int], None]) -> Iterator[Result]:
    taken: dict[str, list[float]] = {backend: [] for backend in models}
    for index in range(TURNS):
        for backend, model in models.items():
            before = time.process_time()
            turn(model, index)
            taken[backend].append((time.process_time() - before) / STEPS_A_TURN)
    said = f"CPU time of 1 thread, median of {TURNS} turns of {STEPS_A_TURN}"
    for backend, seconds in taken.items():
        yield Result(name=f"{name}, {backend}", value=1e3 * median(seconds[1:]), unit="ms", note=said)
    ratio = np.array(taken["torch"][1:]) / np.array(taken["onnxruntime"][1:])
    low, high = np.percentile(ratio, (25, 75))
    note = f"onnxruntime's rate over torch's, quartiles {low:.2f} and {high:.2f}; aim: {AIM}"
    yield Result(name=f"{name}, ratio", value=float(median(ratio)), unit="×", note=note)


def _nodes() -> Iterator[Result]:
    """From the command to the first message about entities, text embeddings on disk from the run before."""
    taken: dict[str, list[float]] = {name: [] for name in BACKENDS}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.jsonl"
        for _ in range(STARTS + 1):
            for name in BACKENDS:
                record.unlink(missing_ok=True)
                began = time.time()
                command = [sys.executable, "-m", "henasy_stream.live", "--source", "world", "--backend", name]
                command += ["--headless", "--max-frames", "60", "--record", str(record)]
                subprocess.run(command, capture_output=True, check=True, env=environment)
                lines = map(json.loads, record.read_text().splitlines())
                first = next(line for line in lines if line["topic"] == "henasy/1/tracks")
                taken[name].append(first["published_ns"] / 1e9 - began)
    for name, seconds in taken.items():
        note = f"live --source world; median of {STARTS}; aim for onnxruntime: {AIM_START_S} s"
        yield Result(name=f"node, start to first tracks, {name}", value=median(seconds[1:]), unit="s", note=note)


def _starts() -> Iterator[Result]:
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in BACKENDS}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(STARTS + 1):
        for name in BACKENDS:
            began = time.time()
            command = [sys.executable, "-c", FIRST_RESULT, name]
            said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
            ended, processor, memory = json.loads(said)
            taken[name].append((ended - began, processor, memory))
    for name, rows in taken.items():
        wall, processor, memory = (median(column) for column in zip(*rows[1:], strict=True))  # files were read before
        note = f"process, import, load, one window; median of {STARTS}; aim for onnxruntime: {AIM_START_S} s"
        yield Result(name=f"start to first result, {name}", value=wall, unit="s", note=note)
        yield Result(name=f"start to first result, {name}, CPU time", value=processor, unit="s")
        yield Result(name=f"largest resident memory by then, {name}", value=memory, unit="MB")
