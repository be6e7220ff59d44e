from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from henasy_stream.runtime.monitor import MOST_ERRORS, Heartbeat, Monitor
from henasy_stream.sources.base import SourceStatus
from tests.runtime.parts import ScriptedSource

DONE: Any = SimpleNamespace(samples=1, windows=1, outside=None)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_phases_of_a_life():
    monitor = Monitor(ScriptedSource())
    assert monitor.status().state == "STARTING"
    monitor.enter("RUNNING")
    assert monitor.status().state == "RUNNING"
    monitor.enter("STOPPING", "Ctrl-C")
    assert (monitor.status().state, monitor.status().reason) == ("STOPPING", "Ctrl-C")


def test_since_moves_only_when_the_state_does():
    monitor = Monitor(ScriptedSource())
    first = monitor.status().since_ns
    assert monitor.status().since_ns == first
    monitor.enter("RUNNING")
    assert monitor.status().since_ns > first


def test_a_lost_source_is_told_with_its_reason():
    lost = SourceStatus(state="SOURCE_LOST", reason="unplugged", since_ns=1)
    source = ScriptedSource([lost])
    monitor = Monitor(source)
    monitor.enter("RUNNING")
    source.read()
    assert (monitor.status().state, monitor.status().reason) == ("SOURCE_LOST", "unplugged")


def test_a_source_that_runs_and_sees_nothing_is_told():
    source = ScriptedSource([SourceStatus(state="RUNNING", reason="black all over", since_ns=1)])
    monitor = Monitor(source)
    monitor.enter("RUNNING")
    source.read()
    assert (monitor.status().state, monitor.status().reason) == ("RUNNING", "black all over")


def test_without_results_it_is_stalled_and_says_why():
    clock = Clock()
    monitor = Monitor(ScriptedSource(), stall_s=3.0, monotonic=clock)
    monitor.enter("RUNNING")
    clock.now = 2.9
    assert monitor.status().state == "RUNNING"
    clock.now = 3.1
    assert monitor.status().state == "STALLED"
    monitor.failed_with("RuntimeError: no")
    assert monitor.status().reason == "RuntimeError: no"
    monitor.succeeded(DONE)
    assert (monitor.status().state, monitor.status().reason) == ("RUNNING", "")


def test_a_slow_model_has_more_time():
    clock = Clock()
    monitor = Monitor(ScriptedSource(), stall_s=3.0, monotonic=clock)
    monitor.enter("RUNNING")
    monitor.window_took(4.0)
    clock.now = 11.0
    assert monitor.status().state == "RUNNING"
    clock.now = 13.0
    assert monitor.status().state == "STALLED"


def test_a_kind_of_error_is_new_once_and_few_are_told():
    monitor = Monitor(ScriptedSource())
    told = [monitor.failed_with(f"error {n % 50}") for n in range(100)]
    assert sum(told) == MOST_ERRORS
    assert monitor.status().frames_failed == 100


def test_the_heart_beats_on_after_an_error_and_tells_it_once():
    beats: list[int] = []
    told: list[str] = []
    enough = threading.Event()

    def beat() -> None:
        beats.append(1)
        if len(beats) == 4:
            enough.set()
        raise RuntimeError("no")

    heartbeat = Heartbeat(beat, told.append)
    assert enough.wait(5)
    heartbeat.close()
    count = len(beats)
    heartbeat.close()
    assert len(beats) == count
    assert told == ["status messages: no"]
