"""The training step on an NVIDIA GPU; nothing on a machine without one.

    python -m benchmarks.gpu_training        prints JSON; random data, about a minute

Needs torch, numpy, scipy, rich, safetensors and msgspec, and no data.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import sys
import time
from collections.abc import Iterator

import torch

from benchmarks import Result
from benchmarks._training import step, trainer
from henasy_stream.config import HenasyConfig

BATCHES = (32, 64, 128)
WARM_UP, STEPS = 2, 5


def run() -> Iterator[Result]:
    """Clips a second and memory at the peak, paper size, towers frozen, bfloat16, with and without recompute."""
    if not torch.cuda.is_available():
        return
    name = torch.cuda.get_device_name()
    torch.backends.cuda.matmul.allow_tf32 = True
    for clips in BATCHES:
        for recompute in (False, True):
            yield from _measured(clips, name, recompute=recompute)
    yield from _measured(BATCHES[0], name, plain=True)


def _measured(clips: int, name: str, *, recompute: bool = False, plain: bool = False) -> Iterator[Result]:
    kind = "plain" if plain else "recompute" if recompute else "no recompute"
    what = f"training step, GPU, bfloat16, {clips} clips, {kind}"
    device = torch.device("cuda", torch.cuda.current_device())
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        made = trainer(
            HenasyConfig.base(), clips, device, plain=plain, precision="bfloat16", recompute=recompute, log_every=1_000
        )
        for _ in range(WARM_UP):
            step(made)
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(STEPS):
            step(made)
        torch.cuda.synchronize()
        seconds = (time.perf_counter() - started) / STEPS
    except torch.cuda.OutOfMemoryError:
        yield Result(name=what, value=float("nan"), unit="clips/s", note=f"{name}: out of memory")
        return
    yield Result(name=what, value=clips / seconds, unit="clips/s", note=f"{name}, mean of {STEPS} steps")
    yield Result(name=f"memory, {what}", value=torch.cuda.max_memory_allocated() / 1e9, unit="GB", note="at the peak")


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("no CUDA device: this measures an NVIDIA GPU")
    print(json.dumps([dataclasses.asdict(result) for result in run()], indent=2, ensure_ascii=False))
