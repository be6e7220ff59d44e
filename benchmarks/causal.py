"""What a frame costs the causal network, beside recomputing the window for every frame, at paper size."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from statistics import median

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import Result
from henasy_stream.config import HenasyConfig, TextConfig
from henasy_stream.model.causal import CausalHenasy
from henasy_stream.model.henasy import Henasy

BASE = HenasyConfig.base()
SIZES = dataclasses.replace(BASE, text=TextConfig(vocab_size=64, width=64, layers=1))  # no text is read
BUDGET_S = 20
MOST_TURNS = 7
FRAMES_A_TURN = 2
AIMS = {4: 3.3, 16: 11.0}
"""Frames of the window, and how many times cheaper than the window a frame should be."""


def run() -> Iterator[Result]:
    """On one thread, in seconds of the processor, so that other work on the machine counts little.

    A window and some frames take turns; ratios are medians over the turns.
    """
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for frames in AIMS:
            yield from _compared(frames)
    finally:
        torch.set_num_threads(threads)


@torch.inference_mode()
def _compared(frames: int) -> Iterator[Result]:
    config = dataclasses.replace(SIZES, vision=dataclasses.replace(BASE.vision, num_frames=frames))
    window, causal = _networks(config)
    size = BASE.vision.image_size
    video = torch.randn(1, frames, 3, size, size)
    yield _arithmetic(config, video)
    window(video)
    state = dataclasses.replace(causal.initial_state(), filled=frames)  # as after many frames: all rows are read
    state, _ = causal.step(state, video[:, :1])
    turns: list[tuple[float, float]] = []
    started = time.perf_counter()
    while not turns or (len(turns) < MOST_TURNS and time.perf_counter() - started < BUDGET_S):
        before = time.process_time()
        window(video)
        between = time.process_time()
        for index in range(FRAMES_A_TURN):
            state, _ = causal.step(state, video[:, index : index + 1])
        turns.append((between - before, (time.process_time() - between) / FRAMES_A_TURN))
    whole, one = np.array(turns).T
    ratio = whole / one
    on, said = f"T = {frames}", f"paper size, CPU time of 1 thread, median of {len(turns)} turns"
    yield Result(name=f"window, {on}", value=1e3 * median(whole), unit="ms", note=said)
    said = f"{said} of {FRAMES_A_TURN}"
    yield Result(name=f"causal frame, {on}", value=1e3 * median(one), unit="ms", note=said)
    note = f"window at hop 1 over frame, from {ratio.min():.1f} to {ratio.max():.1f}; aim: {AIMS[frames]}"
    yield Result(name=f"ratio, {on}", value=median(ratio), unit="×", note=note)
    yield Result(name=f"causal state, {on}", value=state.nbytes / 1e6, unit="MB", note="float32, one stream")


def _networks(config: HenasyConfig) -> tuple[Henasy, CausalHenasy]:
    return Henasy(config).eval(), CausalHenasy(dataclasses.replace(config, attention="causal")).eval()


def _arithmetic(config: HenasyConfig, video: Tensor) -> Result:
    """Both counted without data: the counter knows the attention kernel of the meta device, and not that of the CPU."""
    with torch.device("meta"):
        window, causal = _networks(config)
    counts = []
    frames, empty = config.vision.num_frames, video.to("meta")
    state = dataclasses.replace(causal.initial_state(), filled=frames)
    for work in (lambda: window(empty), lambda: causal.step(state, empty[:, :1])):
        with FlopCounterMode(display=False) as counter:
            work()
        counts.append(counter.get_total_flops())
    note = f"{counts[0] / 1e9:.1f} GFLOP for a window, {counts[1] / 1e9:.1f} for a frame, counted"
    return Result(name=f"products, T = {frames}", value=counts[0] / counts[1], unit="×", note=note)
