"""A model that becomes 20 and 50 times slower behind a live source, with real threads and the real clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import pytest

from henasy_stream.config import StreamConfig
from henasy_stream.loading import Model
from henasy_stream.runtime.loop import Pace, run_loop
from henasy_stream.runtime.monitor import Monitor
from henasy_stream.runtime.outputs import Outputs
from henasy_stream.runtime.stopping import StopOnSignal
from henasy_stream.sources._connection import Connection, Limits
from henasy_stream.sources._live import LiveSource
from henasy_stream.stream.engine import Engine
from henasy_stream.types import NetworkOutput, Perception, UInt8Array
from tests.stream.fake import FakeBackend, Square, paint

USUAL_S, SPAN_S, PERIOD_S = 0.01, 0.3, 0.1
PHASES = ((0.7, 1), (1.5, 20), (2.5, 50))
"""Seconds, and by how much the model is slower."""
CUP = (Square("cup", 60, 80),)


class Camera:
    """Fifty pictures a second; no two are equal."""

    def __init__(self) -> None:
        self._taken = 0

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def grab(self) -> bool:
        time.sleep(0.02)
        self._taken += 1
        return True

    def retrieve(self) -> tuple[bool, UInt8Array]:
        image = paint(CUP, 0.0).image.copy()
        image[0, self._taken % image.shape[1]] = 255
        return True, image

    def get(self, propId: int, /) -> float:
        return 50.0 if propId == cv2.CAP_PROP_FPS else 0.0

    def set(self, propId: int, value: float, /) -> bool:
        return True

    def release(self) -> None:
        pass


class Slowing(FakeBackend):
    """Takes longer from phase to phase; ends the run after the last."""

    def __init__(self, stop: StopOnSignal, attention: Literal["window", "causal"]) -> None:
        super().__init__(span_s=SPAN_S, attention=attention)
        self._stop = stop
        self._started = 0.0
        self.phase = 0

    def run_window(self, clip: UInt8Array) -> NetworkOutput:
        self._started = self._started or time.monotonic()
        self.phase = int((time.monotonic() - self._started >= np.cumsum([seconds for seconds, _ in PHASES])).sum())
        if self.phase == len(PHASES):
            self._stop.request("enough")
        time.sleep(USUAL_S * PHASES[min(self.phase, len(PHASES) - 1)][1])
        return super().run_window(clip)


@dataclass(frozen=True)
class Hop:
    phase: int
    age_s: float
    step_s: float
    taken_s: float
    notice: str | None


class Watch:
    """An output that notes how old each result is when it comes."""

    def __init__(self) -> None:
        self.hops: list[Hop] = []

    def write(self, perception: Perception) -> None:
        if perception.fresh:
            step_s = self.engine.timings["network"] + self.engine.timings["perception"]
            taken_s = perception.stamp_ns / 1e9
            self.hops.append(Hop(self.backend.phase, time.monotonic() - taken_s, step_s, taken_s, perception.notice))

    def close(self) -> None:
        pass

    engine: Engine
    backend: Slowing


@pytest.mark.parametrize("attention", ["window", "causal"])
def test_results_stay_young_however_slow_the_model_becomes(attention):
    stop, watch, notes = StopOnSignal(), Watch(), list[str]()
    watch.backend = Slowing(stop, attention)
    watch.engine = Engine(Model(watch.backend, watch.backend.spec), StreamConfig())
    outputs = Outputs(notes.append)
    outputs.add("watch", watch)
    source = LiveSource("camera:test", lambda: Connection(capture=Camera()), what="camera", limits=Limits())
    try:
        run_loop(source, watch.engine, outputs, Monitor(source), stop, notes.append, Pace())
    finally:
        source.close()
    late = [hop for hop in watch.hops if hop.age_s > 2 * hop.step_s + PERIOD_S]
    assert len(late) <= 0.1 * len(watch.hops), late  # what others take of this machine between two steps is not ours
    for phase, (_, slower) in enumerate(PHASES[1:], 1):
        hops = [hop for hop in watch.hops if hop.phase == phase]
        assert len(hops) >= 3
        between = np.diff([hop.taken_s for hop in hops])
        assert (between >= USUAL_S * slower - 0.03).all()  # it does not run behind
        assert hops[-1].age_s <= 2 * hops[-1].step_s + PERIOD_S + 0.5  # and nothing adds up
    assert watch.hops[-1].notice is not None
    said = {"window": "too long for neighbouring windows to share a frame", "causal": "memory starts afresh"}
    assert said[attention] in watch.hops[-1].notice
    assert sum(said[attention] in note for note in notes) == 1
