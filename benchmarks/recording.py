"""What a recording costs: CPU time a frame and bytes a minute, as JSONL, as MCAP, with frames; and reading it again."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import henasy_stream as hs
from benchmarks import Result
from henasy_stream.sinks.builder import MessageBuilder, NodeStatus
from henasy_stream.sinks.jsonl import JsonlSink
from henasy_stream.sinks.mcap import McapSink
from henasy_stream.sinks.messages import Message
from henasy_stream.sinks.ring import Ring
from henasy_stream.sources._opencv import one_thread
from henasy_stream.types import Perception

FRAMES, FPS, SIZE = 600, 30, "1280x720"
WHAT = f"{SIZE} at {FPS} frames a second, the synthetic world, whose pictures are smoother than a camera's"
_Take = Callable[[list[Message], Perception], None]


def run() -> Iterator[Result]:
    """Twenty seconds of the demo."""
    one_thread()  # as the node does
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jsonl = JsonlSink(folder / "r.jsonl")
        plain, full = McapSink(folder / "plain.mcap"), McapSink(folder / "full.mcap", frames=True)
        ring = Ring(seconds=1e9, max_bytes=1 << 40)
        takers: dict[str, _Take] = {
            "--record r.jsonl": lambda batch, _: jsonl.send(batch),
            "--record r.mcap": _both(plain),
            "--record r.mcap --record-frames": _both(full),
            "the page's last 30 s": _both(ring),
        }
        spent: dict[str, list[float]] = {name: [] for name in takers}
        for batch, perception in _steps():
            for name, take in takers.items():
                before = time.thread_time()
                take(batch, perception)
                spent[name].append(time.thread_time() - before)
        closing = time.thread_time()
        for sink in (jsonl, plain, full):
            sink.close()
        closing = time.thread_time() - closing
        files = ("r.jsonl", "plain.mcap", "full.mcap")
        sizes = [float((folder / file).stat().st_size) for file in files] + [float(ring.held_bytes)]
        for (name, times), size in zip(spent.items(), sizes, strict=True):
            minute = size / FRAMES * FPS * 60 / 1e6
            yield Result(name=f"{name}, size", value=minute, unit="MB/min", note=WHAT)
            note = f"CPU time, mean of {FRAMES} frames; p99 {np.percentile(times, 99) * 1e3:.1f} ms"
            yield Result(name=f"{name}, a frame", value=float(np.mean(times)) * 1e3, unit="ms", note=note)
        yield Result(name="closing the three files", value=closing * 1e3, unit="ms")
        with hs.open_source(f"bag:{folder / 'full.mcap'}") as source:
            before, frames = time.thread_time(), sum(1 for _ in source)
        value = (time.thread_time() - before) / frames * 1e3
        note = f"CPU time, mean of {frames} frames: JPEG decoding for the most part"
        yield Result(name="--source bag:r.mcap, a frame", value=value, unit="ms", note=note)


def _both(sink: McapSink | Ring) -> _Take:
    def take(batch: list[Message], perception: Perception) -> None:
        sink.send(batch)
        sink.write(perception)

    return take


def _steps() -> Iterator[tuple[list[Message], Perception]]:
    model = hs.load("demo")
    builder = MessageBuilder(model.spec)
    with hs.open_source(f"world?size={SIZE}&fps={FPS}") as source:
        for i, perception in enumerate(hs.stream(model, source)):
            status = NodeStatus(state="RUNNING", since_ns=0)
            yield builder.perception(perception) + (builder.heartbeat(status) if i % FPS == 0 else []), perception
            if i + 1 == FRAMES:
                return
