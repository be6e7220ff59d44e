"""The global encoder of the paper's size in whole numbers against float32, on one thread: `python -m benchmarks int8`.

Weights by chance: speed does not depend on what they know, and nothing is claimed of what they would say.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime as ort
import torch

from benchmarks import Result
from export.graphs import forms, write_onnx
from export.int8 import quantise
from henasy_stream.config import HenasyConfig
from henasy_stream.model.lavila import DualEncoder
from henasy_stream.types import UInt8Array

TURNS = 7
AIM = 2.0


def run() -> Iterator[Result]:
    """CPU time of a window, the two taking turns."""
    config = HenasyConfig.base()
    torch.manual_seed(0)
    encoder = DualEncoder(config.vision, config.text, config.embed_dim).eval()
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "fp32", Path(folder) / "int8"
        whole.mkdir()
        graph = write_onnx(next(forms(encoder, config)), whole / "window.onnx")
        shutil.copytree(whole, small)
        quantise(small, graph)
        paths = {"fp32": whole / graph.file, "int8": small / graph.file}
        sizes = {name: path.stat().st_size / 1e6 for name, path in paths.items()}
        sessions = {name: _session(path) for name, path in paths.items()}
    side, frames = config.vision.image_size, config.vision.num_frames
    clips = np.random.default_rng(0).integers(0, 256, (TURNS + 1, 1, frames, side, side, 3), np.uint8)
    taken: dict[str, list[float]] = {name: [] for name in sessions}
    for clip in clips:
        for name, session in sessions.items():
            taken[name].append(_seconds(session, clip))
    about = f"{frames} × {side}², CPU time of 1 thread, median of {TURNS}"
    for name, seconds in taken.items():
        value = 1e3 * median(seconds[1:])
        yield Result(name=f"base encoder, {name}", value=value, unit="ms", note=f"{about}; {sizes[name]:.0f} MB")
    ratios = np.array(taken["fp32"][1:]) / np.array(taken["int8"][1:])
    low, high = np.percentile(ratios, (25, 75))
    note = f"int8's rate over fp32's, quartiles {low:.2f} and {high:.2f}; aim: {AIM}"
    yield Result(name="base encoder, ratio", value=float(median(ratios)), unit="×", note=note)


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _seconds(session: ort.InferenceSession, clip: UInt8Array) -> float:
    before = time.process_time()
    session.run(["video_embedding"], {"frames": clip})
    return time.process_time() - before
