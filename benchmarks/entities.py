"""What reading the network's output takes, by how many entities there are: masks, tracks, caption, messages."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator

import numpy as np

import henasy_stream as hs
from benchmarks import Result
from benchmarks._stub import Replay, crowd
from henasy_stream.loading import Model
from henasy_stream.sinks.builder import MessageBuilder
from henasy_stream.sinks.publisher import Publisher
from henasy_stream.sinks.zmq import ZmqSink
from henasy_stream.types import Frame

ENTITIES = (8, 64)
WINDOWS, WARM_UP, TURNS = 60, 10, 3


def run() -> Iterator[Result]:
    """CPU time of a thread, since other work on the machine would count else; the two sizes in turns."""
    model = hs.load("demo")
    hops = {count: _Hops(model, count) for count in ENTITIES}
    medians: dict[int, float] = {}
    found: dict[int, list[tuple[float, float]]] = {count: [] for count in ENTITIES}
    for _ in range(TURNS):
        for count, hop in hops.items():
            found[count] += [hop.take() for _ in range(WINDOWS)]
    for count, hop in hops.items():
        hop.close()
        reading, publishing = np.array(found[count]).T * 1e3
        note = f"{hop.tracks} tracks, median and p95 of {len(reading)} windows, CPU time"
        for name, values in (("masks, tracks and caption", reading), ("messages and ZeroMQ", publishing)):
            yield Result(name=f"{name}, {count} entities", value=float(np.median(values)), unit="ms", note=note)
            yield Result(name=f"{name}, {count} entities, p95", value=float(np.percentile(values, 95)), unit="ms")
        medians[count] = float(np.median(reading + publishing))
    few, many = ENTITIES
    yield Result(name=f"all, {many} entities against {few}", value=medians[many] / medians[few], unit="×")


class _Hops:
    """A stream of so many entities, hop by hop."""

    def __init__(self, model: Model, entities: int) -> None:
        spec, outputs = crowd(model, entities, WINDOWS)
        self._folder = tempfile.TemporaryDirectory()
        self._engine = hs.Engine(Model(Replay(model, spec, outputs), spec), hs.StreamConfig(), queries=["cup"])
        self._state = self._engine.initial_state()
        self._publisher = Publisher(
            MessageBuilder(spec, self._engine.vocabulary, masks=True), [ZmqSink(f"ipc://{self._folder.name}/socket")]
        )
        side = spec.image_size  # no resizing: it doesn't belong to the entities
        self._image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
        self._hop = 0
        self.tracks = 0
        for _ in range(WARM_UP):
            self.take()

    def take(self) -> tuple[float, float]:
        """Seconds of CPU for reading and for publishing one window."""
        spec = self._engine.spec
        frame = Frame(
            image=self._image,
            stamp_ns=round(self._hop * spec.span_s * 1e9 / (spec.num_frames - 1)),
            index=self._hop,
            source="crowd",
        )
        self._hop += 1
        started = time.thread_time()
        self._state, perception = self._engine.step(self._state, frame)
        stepped = time.thread_time()
        self._publisher.write(perception)
        published = time.thread_time()
        assert perception.fresh
        self.tracks = len(perception.tracks)
        return stepped - started, published - stepped

    def close(self) -> None:
        """Frees socket and folder."""
        self._publisher.close()
        self._folder.cleanup()
