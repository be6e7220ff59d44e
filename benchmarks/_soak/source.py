"""A source that never ends by itself and fails now and then, and the network that it makes fail."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from time import perf_counter, thread_time
from typing import Literal

import numpy as np

import henasy_stream as hs
from benchmarks._soak.faults import FAULTS, SIZES, URI, Rig
from henasy_stream.backends.base import Backend, NetworkState
from henasy_stream.sources.base import SourceBase, SourceStatus
from henasy_stream.types import FloatArray, Frame, NetworkOutput, UInt8Array

FILM_FPS, FILM_FRAMES = 4.0, 240
FAULTS_PER_FRAME = 1 / 60


class FaultyNetwork:
    """A backend whose next window can be made to fail; `failed` counts by kind."""

    def __init__(self, backend: Backend) -> None:
        self.name, self.spec = backend.name, backend.spec
        self.failed: Counter[str] = Counter()
        self.windows = 0
        self._backend = backend
        self._next: Literal["error", "nan"] | None = None

    def fail_next(self, kind: Literal["error", "nan"]) -> None:
        """Makes the next window an error, or its output NaN."""
        self._next = kind

    def run_window(self, clip: UInt8Array) -> NetworkOutput:
        """See `Backend.run_window`."""
        kind = self._begin()
        return self._end(self._backend.run_window(clip), kind)

    def initial_state(self) -> NetworkState:
        """See `Backend.initial_state`."""
        return self._backend.initial_state()

    def step(self, state: NetworkState, image: UInt8Array) -> tuple[NetworkState, NetworkOutput]:
        """See `Backend.step`."""
        kind = self._begin()
        state, output = self._backend.step(state, image)
        return state, self._end(output, kind)

    def _begin(self) -> Literal["error", "nan"] | None:
        self.windows += 1
        kind, self._next = self._next, None
        if kind is not None:
            self.failed[kind] += 1
        if kind == "error":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return kind

    def _end(self, output: NetworkOutput, kind: Literal["error", "nan"] | None) -> NetworkOutput:
        if kind == "nan":
            nan = {
                field.name: np.full_like(value, np.nan)
                for field in dataclasses.fields(output)
                if (value := getattr(output, field.name)) is not None
            }
            output = dataclasses.replace(output, **nan)
        return output

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """See `Backend.embed_texts`."""
        return self._backend.embed_texts(texts)


class FaultySource(SourceBase):
    """Hands frames out as fast as they are read; `faults` counts what went wrong, by name.

    Attributes:
        handed: when the last frame was handed out, by `perf_counter` and by the thread's CPU clock.
    """

    def __init__(self, rig: Rig) -> None:
        super().__init__(URI)
        self.faults: Counter[str] = Counter()
        self.handed = (0.0, 0.0)
        rig.lost = self._lost
        self._script = self._play(rig)

    def read(self, timeout_s: float = 1.0) -> Frame | None:
        """The next frame, or None while the source is lost; never waits."""
        frame = next(self._script)
        if frame is not None:
            self._frames_in += 1
        self.handed = (perf_counter(), thread_time())
        return frame

    def _lost(self, lost: bool) -> None:
        state: Literal["SOURCE_LOST", "RUNNING"] = "SOURCE_LOST" if lost else "RUNNING"
        reason = "the camera is unplugged" if lost else ""
        self._status = SourceStatus(state=state, reason=reason, since_ns=time.time_ns())

    def _play(self, rig: Rig) -> Iterator[Frame | None]:
        names = list(FAULTS)
        while True:
            yield rig.camera.frame()
            if rig.rng.random() < FAULTS_PER_FRAME:
                name = names[rig.rng.integers(len(names))]
                self.faults[name] += 1
                yield from FAULTS[name](rig)


def film() -> UInt8Array:
    """(N, H, W, 3): a minute of the world."""
    height, width = SIZES[0]
    with hs.open_source(f"world?seed=7&size={width}x{height}&fps={FILM_FPS:g}") as source:
        return np.stack([frame.image for frame in islice(source, FILM_FRAMES)])
