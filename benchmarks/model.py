"""How fast the network is, beside the same size of TimeSformer from transformers and the floor of its products."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import henasy_stream as hs
from benchmarks import Result
from henasy_stream.backends.torch_backend import TorchBackend
from henasy_stream.config import HenasyConfig
from henasy_stream.loading import DEMO_WEIGHTS
from henasy_stream.model import Henasy

BUDGET_S = 25
MOST_TURNS = 15
DEMO_WINDOWS = 60
BASE = HenasyConfig.base()
CLIP = (1, BASE.vision.num_frames, 3, BASE.vision.image_size, BASE.vision.image_size)


def run() -> Iterator[Result]:
    """The paper's size on one thread and on two, then the demo model.

    The two networks and a plain product take turns, so that whatever else runs on the machine slows all of them; ratios
    are medians over the turns.
    """
    cores = len(os.sched_getaffinity(0))
    note = f"of {cores} cores, before this started; threads that share a core wait for each other at every layer"
    yield Result(name="load of the machine", value=os.getloadavg()[0], unit="", note=note)
    torch.manual_seed(0)
    ours, theirs = evaluated(Henasy(BASE)), timesformer()
    yield Result(
        name="parameters, paper size",
        value=sum(parameter.numel() for parameter in ours.parameters()) / 1e6,
        unit="M",
        note="the paper's count is 291 M",
    )
    for threads in range(1, min(2, cores) + 1):
        with _threads(threads), torch.inference_mode():
            yield from _paired(ours, theirs, threads)
    yield _demo()


def timesformer() -> nn.Module:
    """Transformers' network of the same size, in evaluation mode, with random weights."""
    from transformers import TimesformerConfig, TimesformerModel

    vision = BASE.vision
    config = TimesformerConfig(
        image_size=vision.image_size,
        patch_size=vision.patch_size,
        num_frames=vision.num_frames,
        hidden_size=vision.width,
        num_hidden_layers=vision.layers,
        num_attention_heads=vision.heads,
        intermediate_size=4 * vision.width,
    )
    return evaluated(TimesformerModel(config))


def evaluated(model: nn.Module) -> nn.Module:
    """The model in evaluation mode, without gradients."""
    return model.eval().requires_grad_(False)


def _paired(ours: nn.Module, theirs: nn.Module, threads: int) -> Iterator[Result]:
    video = torch.randn(CLIP)
    product = _Products()
    parts: tuple[Callable[[], object], ...] = (product, lambda: ours(video), lambda: theirs(video))
    for part in parts:
        part()
    turns: list[list[float]] = []
    started = time.perf_counter()
    while len(turns) < MOST_TURNS and time.perf_counter() - started < BUDGET_S:
        order = (0, 1, 2) if len(turns) % 2 else (2, 1, 0)
        seconds = {which: _seconds(parts[which]) for which in order}
        turns.append([seconds[which] for which in range(3)])
    products, our, their = np.array(turns).T
    rate = product.flops / median(products)
    on = f"{threads} thread" + ("s" if threads > 1 else "")
    said = f"{'×'.join(map(str, CLIP))}, median of {len(turns)} turns"
    yield Result(name=f"HENASY, paper size, {on}", value=1e3 * median(our), unit="ms", note=said)
    yield Result(name=f"TimesformerModel, {on}", value=1e3 * median(their), unit="ms", note=f"of transformers, {said}")
    low, high = np.quantile(our / their, (0.25, 0.75))
    note = f"quartiles {low:.3f} and {high:.3f}; ours has the entity parts besides; aim: at most 1.1"
    yield Result(name=f"ratio, {on}", value=median(our / their), unit="×", note=note)
    yield Result(name=f"float32 products, {on}", value=rate / 1e9, unit="GFLOP/s", note=product.what)
    for name, model, taken in (("HENASY", ours, our), ("TimesformerModel", theirs, their)):
        flops = _flops(model, video)
        share = median(flops / product.flops * products / taken)
        note = f"{flops / 1e9:.1f} GFLOP at that rate; the forward reaches {share:.2f} of it"
        yield Result(name=f"floor of {name}, {on}", value=1e3 * flops / rate, unit="ms", note=note)


class _Products:
    """The two largest products of a block, over and over."""

    def __init__(self) -> None:
        tokens, width = 1 + CLIP[1] * BASE.vision.grid**2, BASE.vision.width
        self.x, self.weight = torch.randn(tokens, width), torch.randn(width, 4 * width)
        self.hidden, self.out = torch.empty(tokens, 4 * width), torch.empty(tokens, width)
        self.repeats = 12
        self.flops = self.repeats * 2 * 2 * tokens * width * 4 * width
        self.what = f"{tokens}×{width}×{4 * width} and back"

    def __call__(self) -> None:
        for _ in range(self.repeats):
            torch.mm(self.x, self.weight, out=self.hidden)
            torch.mm(self.hidden, self.weight.t(), out=self.out)


def _flops(model: nn.Module, video: Tensor) -> int:
    # Without data: the counter knows the attention kernel of the meta device, and not that of the CPU.
    with torch.device("meta"):
        empty = type(model)(model.config).eval().requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        empty(video.to("meta"))
    return counter.get_total_flops()


def _demo() -> Result:
    if DEMO_WEIGHTS.is_file():
        model, what = hs.load("demo").backend, "the weights of the package"
    else:
        config = HenasyConfig.demo()
        model, what = TorchBackend(Henasy(config), config, "random", "cpu"), "random weights: none in the package"
    size = model.spec.image_size
    clip = np.random.default_rng(0).integers(0, 256, (model.spec.num_frames, size, size, 3), np.uint8)
    model.run_window(clip)
    seconds = median(_seconds(lambda: model.run_window(clip)) for _ in range(DEMO_WINDOWS))
    return Result(name="demo model", value=1 / seconds, unit="windows/s", note=f"{what}, {model.name}, pixels in")


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
