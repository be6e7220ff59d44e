"""The network on an NVIDIA GPU; nothing on a machine without one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import numpy as np
import torch

from benchmarks import Result
from benchmarks.model import BASE, CLIP, evaluated, timesformer
from henasy_stream.backends.torch_backend import TorchBackend
from henasy_stream.loading import DEMO_WEIGHTS
from henasy_stream.model import Henasy

TURNS = 30


def run() -> Iterator[Result]:
    """The paper's size beside transformers' TimeSformer, in turns; then the demo model, also against the CPU."""
    if not torch.cuda.is_available():
        return
    name = torch.cuda.get_device_name()
    torch.manual_seed(0)
    ours, theirs = evaluated(Henasy(BASE)).cuda(), evaluated(timesformer()).cuda()
    for batch in (1, 16):
        video = torch.randn(batch, *CLIP[1:], device="cuda")
        for precision in (torch.float32, torch.bfloat16):
            yield from _paired(partial(ours, video), partial(theirs, video), batch, precision, name)
    yield from _demo(name)


def _paired(
    ours: Callable[[], object], theirs: Callable[[], object], batch: int, precision: torch.dtype, name: str
) -> Iterator[Result]:
    half = precision is torch.bfloat16
    kind = f"{'bfloat16 autocast' if half else 'float32'}, batch {batch}"
    with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, enabled=half):
        turns = [(_seconds(ours), _seconds(theirs)) for _ in range(TURNS + 3)][3:]
    our, their = np.array(turns).T
    said = f"{name}, median of {TURNS} turns"
    yield Result(name=f"HENASY, paper size, GPU, {kind}", value=1e3 * median(our), unit="ms", note=said)
    yield Result(name=f"TimesformerModel, GPU, {kind}", value=1e3 * median(their), unit="ms", note=said)
    yield Result(
        name=f"ratio, GPU, {kind}", value=median(our / their), unit="×", note="ours has the entity parts besides"
    )


def _demo(name: str) -> Iterator[Result]:
    backends = {device: TorchBackend.from_file(DEMO_WEIGHTS, device=device) for device in ("cpu", "cuda")}
    spec = backends["cuda"].spec
    shape = (spec.num_frames, spec.image_size, spec.image_size, 3)
    clips = np.random.default_rng(0).integers(0, 256, (TURNS, *shape), np.uint8)
    far = 0.0
    for clip in clips:
        cpu, gpu = (backend.run_window(clip).video_embedding for backend in backends.values())
        far = max(far, float(np.abs(cpu - gpu).max()))
    seconds = median(_seconds(partial(backends["cuda"].run_window, clip)) for clip in clips)
    yield Result(name="demo model, GPU", value=1 / seconds, unit="windows/s", note=f"{name}, pixels in, float32")
    note = f"largest difference in the unit video embedding, {TURNS} windows of noise"
    yield Result(name="demo model, GPU against CPU", value=far, unit="", note=note)


def _seconds(work: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - started
