from __future__ import annotations

import time

import numpy as np
import pytest

from henasy_stream.config import StreamConfig
from henasy_stream.loading import Model
from henasy_stream.runtime.loop import Pace, run_loop
from henasy_stream.runtime.monitor import Monitor
from henasy_stream.runtime.outputs import Outputs
from henasy_stream.runtime.stopping import StopOnSignal
from henasy_stream.stream.engine import Engine
from henasy_stream.types import NetworkOutput, Perception, UInt8Array
from tests.runtime.parts import CUP, ScriptedSource, fake_model
from tests.stream.fake import FakeBackend, film


class Screen:
    def __init__(self) -> None:
        self.seen: list[Perception] = []

    def write(self, perception: Perception) -> None:
        self.seen.append(perception)

    def close(self) -> None:
        pass


class Run:
    """One run of the loop and what came of it."""

    def __init__(
        self,
        source: ScriptedSource,
        model: Model | None = None,
        pace: Pace | None = None,
        stop: StopOnSignal | None = None,
    ) -> None:
        self.notes: list[str] = []
        self.screen, self.monitor, self.stop = Screen(), Monitor(source), stop or StopOnSignal()
        outputs = Outputs(self.notes.append)
        outputs.add("screen", self.screen)
        engine = Engine(model or fake_model(), StreamConfig())
        note = self.notes.append
        self.final = run_loop(source, engine, outputs, self.monitor, self.stop, note, pace or Pace())

    @property
    def indices(self) -> list[int]:
        return [p.frame.index for p in self.screen.seen]


def test_every_frame_comes_out_in_order_and_is_counted():
    run = Run(ScriptedSource(film(CUP, 2.0)))
    assert run.indices == list(range(40))
    assert run.monitor.steps == 40
    assert run.monitor.windows == sum(p.fresh for p in run.screen.seen) > 5
    assert run.monitor.windows <= run.monitor.used < 40
    assert run.stop.reason == "the source ended"
    assert set(run.monitor.latency.percentiles()) == {"read", "preprocess", "network", "perception", "sinks", "age"}


def test_the_action_that_goes_on_at_the_end_is_closed_once():
    run = Run(ScriptedSource())
    assert run.final is not None
    assert [c.final for c in run.final.closed] == [True]
    assert not run.final.fresh
    assert run.final.caption is None
    open_segment = run.screen.seen[-1].caption
    assert open_segment is not None
    assert run.final.closed[0].segment_id == open_segment.segment_id
    assert Run(ScriptedSource([])).final is None


def test_max_frames_counts_frames_that_came_in():
    run = Run(ScriptedSource(), pace=Pace(max_frames=7))
    assert run.indices == list(range(7))
    assert run.stop.reason == "7 frames came in"


def test_max_fps_holds_files_back():
    started = time.monotonic()
    Run(ScriptedSource(), pace=Pace(max_frames=5, max_fps=50))
    assert time.monotonic() - started >= 4 / 50


def test_a_silent_source_can_be_stopped():
    stop = StopOnSignal()
    run = Run(ScriptedSource([*film(CUP, 0.2), None, None, lambda: stop.request("Ctrl-C"), *film(CUP, 9.0)]), stop=stop)
    assert run.stop.reason == "Ctrl-C"
    assert len(run.indices) == 4


def test_a_failing_step_is_told_and_the_stream_starts_afresh_with_the_reason():
    def fails(window: int) -> None:
        if window == 3:
            raise RuntimeError("out of\nmemory")

    run = Run(ScriptedSource(), fake_model(fails))
    assert run.monitor.failed == 1
    assert len(run.notes) == 1
    assert "RuntimeError: out of memory" in run.notes[0]
    resets = [p for p in run.screen.seen if p.reset]
    assert len(resets) == 1
    assert "out of memory" in (resets[0].reset or "")
    assert run.monitor.steps == 39
    ids = [{t.id for t in p.tracks if t.state in ("new", "tracked")} for p in run.screen.seen]
    before = set().union(*ids[: resets[0].frame.index - 1])
    after = set().union(*ids[resets[0].frame.index :])
    assert before
    assert after
    assert not before & after


def test_a_network_that_always_fails_is_told_once():
    def fails(window: int) -> None:
        raise RuntimeError("no")

    run = Run(ScriptedSource(), fake_model(fails))
    assert run.monitor.steps == 0
    assert run.monitor.failed == 40
    assert len(run.notes) == 1
    assert run.final is None


def test_a_remark_of_the_source_is_told_once():
    source = ScriptedSource()
    source._script[3:3] = [lambda: source.notice("10.1 fps arrive, 30 are due")]
    source._script[9:9] = [lambda: source.notice("10.2 fps arrive, 30 are due")]
    assert Run(source).notes == ["10.1 fps arrive, 30 are due"]


@pytest.mark.parametrize("clock", ["unix", "monotonic"])
def test_the_age_of_a_live_frame_counts_from_its_stamp(clock):
    import dataclasses

    now = time.time_ns() if clock == "unix" else time.monotonic_ns()
    live = {"clock": clock, "stamp_source": "device"}
    frames = [dataclasses.replace(f, stamp_ns=now - 500_000_000 + i, **live) for i, f in enumerate(film(CUP, 0.5))]
    age = Run(ScriptedSource(frames)).monitor.latency.percentiles()["age"]
    assert 500 <= age.p50 < 5000


def test_nan_from_the_network_is_a_failed_step_that_leaves_nothing_behind():
    class Sick(FakeBackend):
        def run_window(self, clip: UInt8Array) -> NetworkOutput:
            output = super().run_window(clip)
            if self.windows == 4:
                output.video_embedding[3] = np.nan
            return output

    backend = Sick()
    run = Run(ScriptedSource(film(CUP, 3.0)), Model(backend, backend.spec))
    assert run.monitor.failed == 1
    assert "video_embedding holds numbers that are not finite" in run.notes[0]
    resets = [p.reset for p in run.screen.seen if p.reset]
    assert len(resets) == 1
    assert "the frame before failed" in resets[0]
    captions = [p.caption.score for p in run.screen.seen if p.caption is not None]
    assert np.isfinite(captions).all()
    assert len(run.screen.seen) == 59
