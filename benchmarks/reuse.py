"""What neighbouring windows at hop 1 could share, as a share of a step, and what sharing it saves.

A step is a window of T frames, of which one is new.  In seconds of the processor on one thread, so that other work on
the machine counts little; medians of turns.  What would save less than 2 % is not worth its code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
import torch
from torch import Tensor

from benchmarks import Result
from henasy_stream.backends.torch_backend import TorchBackend, read_network
from henasy_stream.backends.torch_stem import StemMemory
from henasy_stream.config import HenasyConfig
from henasy_stream.loading import DEMO_WEIGHTS
from henasy_stream.model import Henasy
from henasy_stream.preprocess import View
from henasy_stream.types import UInt8Array

BUDGET_S = 12
MOST_TURNS = 40
FILM = 64
FRAME = (720, 1280)


def run() -> Iterator[Result]:
    """The demo model, then the paper's size with random weights."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        demo, config, _ = read_network(DEMO_WEIGHTS)
        assert isinstance(demo, Henasy)
        words = config.vocabulary
        yield from _shares("demo", demo, len({*words.nouns, *words.phrases}))
        torch.manual_seed(0)
        yield from _shares("paper size", Henasy(HenasyConfig.base()), 100)
    finally:
        torch.set_num_threads(threads)


@torch.inference_mode()
def _shares(name: str, model: Henasy, texts: int) -> Iterator[Result]:
    model.eval()
    config, backend = model.config, TorchBackend(model, model.config, name, "cpu")
    size, frames = config.vision.image_size, config.vision.num_frames
    random = np.random.default_rng(0)
    film = random.integers(0, 256, (FILM, size, size, 3), np.uint8)
    picture = random.integers(0, 256, (*FRAME, 3), np.uint8)
    tower, view = model.towers.visual, View.plan(*FRAME, size, config.preprocess.resize)
    memory = StemMemory(tower.patch_embed, 2 * frames)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (config.preprocess.mean, config.preprocess.std))

    def clip(turn: int) -> UInt8Array:
        start = turn % (FILM - frames)
        return film[start : start + frames]

    def video(turn: int) -> Tensor:
        return (torch.from_numpy(clip(turn)).permute(0, 3, 1, 2).float() - mean) / std

    def shared(turn: int) -> object:
        normalised = video(turn)
        return model.assemble(tower(normalised[None], memory(clip(turn), normalised)), frames)

    work: dict[str, Callable[[int], object]] = {
        "plain": lambda turn: model(video(turn)[None]),
        "shared": shared,
        "stem": lambda turn: tower.patch_embed(ready[1:]),
        "normalise": lambda turn: video(turn)[1:],
        "preprocess": lambda turn: [view.apply(picture) for _ in range(frames - 1)],
    }
    ready = video(0)
    seconds = _in_turns(work)
    step = median(seconds["plain"])
    yield Result(name=f"window, {name}", value=1e3 * step, unit="ms", note=f"{frames} frames, nothing shared")
    for part, what in (
        ("stem", "the stem over the shared frames; shared where it is made of convolutions"),
        ("normalise", "uint8 to normalised float of the shared frames; done anew"),
        ("preprocess", f"{FRAME[1]}×{FRAME[0]} to the model's square, of the shared frames; always kept as samples"),
    ):
        yield Result(name=f"{part}, {name}", value=100 * median(seconds[part]) / step, unit="% of it", note=what)
    started = time.process_time()
    backend.embed_texts([f"takes the thing number {index}" for index in range(texts)])
    note = f"{texts} texts; always embedded once and kept on disk"
    share = 100 * (time.process_time() - started) / step
    yield Result(name=f"texts, {name}", value=share, unit="% of it", note=note)
    ratio = np.array(seconds["shared"]) / np.array(seconds["plain"])
    low, high = np.quantile(ratio, (0.25, 0.75))
    note = (
        f"a window with the stem's work shared over one without; quartiles {low:.2f} and {high:.2f}, {len(ratio)} turns"
    )
    yield Result(name=f"shared stem, {name}", value=median(ratio), unit="×", note=note)


def _in_turns(work: dict[str, Callable[[int], object]]) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in work}
    started, turn = time.perf_counter(), 0
    while turn < 3 or (turn <= MOST_TURNS and time.perf_counter() - started < BUDGET_S):
        for name, job in work.items():
            before = time.process_time()
            job(turn)
            if turn:  # the first one warms up
                seconds[name].append(time.process_time() - before)
        turn += 1
    return seconds
