"""A whole node, without its command line: the synthetic world, the demo model, JSONL and ZeroMQ."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import henasy_stream as hs
from henasy_stream.sinks.builder import MessageBuilder
from henasy_stream.sinks.jsonl import JsonlSink
from henasy_stream.sinks.publisher import Publisher, Sink
from henasy_stream.sinks.zmq import ZmqSink

SOURCE = "world?seed=7&size=1280x720&fps=30"


def frames() -> Iterator[tuple[bool, float]]:
    """For every frame, for ever: whether a window ran, and seconds from when it was read to when it was published."""
    model = hs.load("demo")
    engine = hs.Engine(model, hs.StreamConfig(), queries=["cup"])
    engine.warm_up()
    state = engine.initial_state()
    with tempfile.TemporaryDirectory() as folder, hs.open_source(SOURCE) as source:
        sinks: list[Sink] = [JsonlSink(Path(folder) / "record.jsonl"), ZmqSink(f"ipc://{folder}/socket")]
        publisher = Publisher(MessageBuilder(model.spec, source=source.uri), sinks)
        try:
            for frame in source:
                started = perf_counter()
                state, perception = engine.step(state, frame)
                publisher.write(perception)
                yield perception.fresh, perf_counter() - started
        finally:
            publisher.close()
