"""How old a live result is when it is there, with the demo models as they are and made 20 and 50 times slower."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

import henasy_stream as hs
from benchmarks import Result
from henasy_stream.backends.base import Backend, NetworkState
from henasy_stream.loading import BUILT_IN
from henasy_stream.sources.grabber import Slot
from henasy_stream.types import FloatArray, Frame, NetworkOutput, UInt8Array

SOURCE = "world?seed=7&size=640x360&fps=30"
FPS, SECONDS = 30.0, 15.0
FILM = 150
SLOWER = (1, 20, 50)


def run() -> Iterator[Result]:
    """Real time: a thread leaves the newest frame, the loop takes it; the model sleeps for what it is to be slower."""
    with hs.open_source(SOURCE) as source:
        film = [frame.image for frame in islice(source, FILM)]
    for name in BUILT_IN:
        if name.startswith("demo"):
            for slower in SLOWER:
                yield from _ages(name, film, slower)


def _ages(name: str, film: Sequence[UInt8Array], slower: int) -> Iterator[Result]:
    engine = hs.Engine(Slowed(hs.load(name), slower), hs.StreamConfig())
    engine.warm_up()
    state, slot, stop = engine.initial_state(), Slot[Frame](), threading.Event()
    camera = threading.Thread(target=_deliver, args=(film, slot, stop))
    ages, steps, said, resets = [], [], 0, 0
    started = time.monotonic()
    camera.start()
    try:
        while time.monotonic() - started < SECONDS:
            frame = slot.take(0.5)
            if frame is None:
                continue
            state, perception = engine.step(state, frame)
            resets += perception.reset is not None
            if perception.fresh:
                ages.append((time.monotonic_ns() - frame.stamp_ns) / 1e9)
                steps.append(engine.timings["network"] + engine.timings["perception"])
                said += perception.notice is not None
    finally:
        stop.set()
        camera.join()
    spec = engine.spec
    period_s = spec.span_s / (spec.num_frames - 1)
    age, step = np.array(ages), np.array(steps)
    kept = float((age <= 2 * step + period_s).mean())
    note = (
        f"{len(age)} results in {SECONDS:.0f} s, step p50 {1e3 * np.median(step):.0f} ms, age at most "
        f"{1e3 * age.max():.0f} ms; within 2 steps and {1e3 * period_s:.0f} ms: {kept:.1%}; "
        f"{said} with a notice, {resets} resets"
    )
    p95 = 1e3 * float(np.quantile(age, 0.95))
    yield Result(name=f"age p95, {name}, {slower}× slower", value=p95, unit="ms", note=note)


def _deliver(film: Sequence[UInt8Array], slot: Slot[Frame], stop: threading.Event) -> None:
    index = 0
    while not stop.wait(1 / FPS):
        slot.put(
            Frame(
                image=film[index % len(film)],
                stamp_ns=time.monotonic_ns(),
                index=index,
                source="benchmark",
                clock="monotonic",
                stamp_source="receive",
            )
        )
        index += 1


class Slowed:
    """A backend that takes so many times as long as another."""

    def __init__(self, backend: Backend, slower: int) -> None:
        self.name, self.spec = backend.name, backend.spec
        self._backend, self._slower = backend, slower

    def run_window(self, clip: UInt8Array) -> NetworkOutput:
        """See `Backend.run_window`."""
        started = time.perf_counter()
        output = self._backend.run_window(clip)
        self._sleep(started)
        return output

    def initial_state(self) -> NetworkState:
        """See `Backend.initial_state`."""
        return self._backend.initial_state()

    def step(self, state: NetworkState, image: UInt8Array) -> tuple[NetworkState, NetworkOutput]:
        """See `Backend.step`."""
        started = time.perf_counter()
        state, output = self._backend.step(state, image)
        self._sleep(started)
        return state, output

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """See `Backend.embed_texts`."""
        return self._backend.embed_texts(texts)

    def _sleep(self, started: float) -> None:
        time.sleep((self._slower - 1) * (time.perf_counter() - started))
