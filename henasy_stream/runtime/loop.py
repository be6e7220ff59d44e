"""The loop of the node: a frame in, a step, the result out."""

from __future__ import annotations

import dataclasses
import re
import time
import traceback
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from henasy_stream.errors import debugging
from henasy_stream.runtime.monitor import Monitor
from henasy_stream.runtime.outputs import Outputs, one_line
from henasy_stream.runtime.stopping import StopOnSignal
from henasy_stream.sources.base import EndOfSource, Source
from henasy_stream.types import Frame, Perception

if TYPE_CHECKING:
    from henasy_stream.runtime.control import QueryDesk
    from henasy_stream.sources.entities import EntityFeed
    from henasy_stream.stream.engine import Engine
    from henasy_stream.stream.state import StreamState

READ_TIMEOUT_S = 0.2
"""So long may a silent source keep the loop from noticing that it shall stop."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pace:
    """`max_frames`: stop after so many frames of the source.  `max_fps`: take at most so many a second."""

    max_frames: int | None = None
    max_fps: float | None = None


def run_loop(
    source: Source,
    engine: Engine,
    outputs: Outputs,
    monitor: Monitor,
    stop: StopOnSignal,
    note: Callable[[str], None],
    pace: Pace,
    entities: EntityFeed | None = None,
    queries: QueryDesk | None = None,
    advanced: Callable[[], None] = lambda: None,
) -> Perception | None:
    """Runs until the source ends, enough frames came in, or somebody asks for the end; `stop.reason` then says which.

    A step that fails is counted, the first of a kind is told to `note`, and the next frame starts the stream afresh.
    `advanced` is called when a frame is through, and when a live source has none; a loop that hangs, or whose steps all
    fail, does not call it.

    Returns:
        The last message to publish when an action was going on, see `closing`.
    """
    state = engine.initial_state()
    last: Perception | None = None
    problem: str | None = None
    due = time.monotonic()
    remarks = Remarks(note)
    while not stop.requested:
        if pace.max_frames is not None and source.frames_in >= pace.max_frames:
            stop.request(f"{pace.max_frames} frames came in")
            break
        started = perf_counter()
        try:
            frame = source.read(READ_TIMEOUT_S)
        except EndOfSource:
            frame = None
            stop.request("the source ended")
        arrived = perf_counter()
        remarks.tell(source.notices)
        remarks.tell(entities.notices if entities is not None else ())
        if frame is None:
            advanced()
            continue
        monitor.latency.add("read", arrived - started)
        if queries is not None:
            queries.apply(frame.index)
        if problem is not None:
            frame = dataclasses.replace(frame, reset=frame.reset or f"the frame before failed ({problem})")
        try:
            state, last = engine.step(state, frame, entities.take(frame) if entities is not None else ())
        except Exception as error:  # noqa: BLE001 - the next frame may be fine, and a node must not die of one
            problem = f"{type(error).__name__}: {one_line(error)}"
            if monitor.failed_with(problem):
                note(f"frame {frame.index} failed ({problem}); starting afresh with the next one")
                if debugging():
                    traceback.print_exc()
            continue
        problem = None
        monitor.succeeded(state)
        monitor.latency.add_all(engine.timings)
        monitor.window_took(engine.timings.get("network", 0.0))
        monitor.latency.add("age", _age(frame, arrived))
        remarks.tell([last.notice] if last.notice else [])
        with monitor.latency.timed("sinks"):
            outputs.write(last)
        advanced()
        if pace.max_fps is not None:
            due = max(due + 1 / pace.max_fps, time.monotonic())
            while not stop.requested and (now := time.monotonic()) < due:
                stop.sleep_until(min(due, now + READ_TIMEOUT_S))
                advanced()
    return closing(engine, state, last)


def closing(engine: Engine, state: StreamState, last: Perception | None) -> Perception | None:
    """The perception that closes the action going on when a stream ends; None when there is none.

    It is the last one again, not fresh, with the closed segment in `closed`.
    """
    closed = engine.finish(state)
    if last is None or not closed:
        return None
    tracks = tuple(track for track in last.tracks if track.state != "removed")
    return dataclasses.replace(last, tracks=tracks, caption=None, closed=closed, reset=None, fresh=False)


class Remarks:
    """Tells each remark once."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._told: set[str] = set()

    def tell(self, remarks: Sequence[str]) -> None:
        """Tells those that were not told before."""
        for remark in remarks:
            key = re.sub(r"\d+", "#", remark)  # the same remark with another number in it is no new one
            if key not in self._told:
                self._told.add(key)
                self._note(remark)


def _age(frame: Frame, arrived: float) -> float:
    """Seconds since the frame was taken; since it was read where it is recorded or its clock says nothing about now."""
    if frame.stamp_source == "file":
        return perf_counter() - arrived
    if frame.clock == "unix":
        return (time.time_ns() - frame.stamp_ns) / 1e9
    if frame.clock == "monotonic":
        return (time.monotonic_ns() - frame.stamp_ns) / 1e9
    return perf_counter() - arrived
