"""What the node is doing, as `henasy/1/status` tells it, and the thread that tells it every second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from henasy_stream.runtime.latency import Latency
from henasy_stream.runtime.outputs import one_line
from henasy_stream.sinks.builder import NodeStatus
from henasy_stream.sinks.messages import NodeState
from henasy_stream.sources.base import Source

if TYPE_CHECKING:
    from henasy_stream.stream.outside import OutsideBook
    from henasy_stream.stream.state import StreamState

STALL_S = 3.0
"""So long without a result, while the source runs, is STALLED; longer for a model whose windows take longer."""
STALL_WINDOWS = 3
MOST_ERRORS = 5
"""Different errors that are told; a message with a changing number in it must not flood the terminal."""


class Monitor:
    """Counters of the loop, and the state that follows from them and from the source.

    Args:
        source: asked for its status and counters.
        stall_s: least number of seconds without a result that make the state STALLED.
        monotonic: the clock that stalls are measured by.
    """

    def __init__(
        self, source: Source, *, stall_s: float = STALL_S, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.latency = Latency()
        self.steps = 0
        self.used = 0
        self.windows = 0
        self.failed = 0
        self.failure = ""
        self.boxes: OutsideBook | None = None
        self._source = source
        self._stall_s = stall_s
        self._slowest_s = 0.0
        self._monotonic = monotonic
        self._phase: Literal["STARTING", "RUNNING", "STOPPING"] = "STARTING"
        self._phase_reason = ""
        self._errors: set[str] = set()
        self._last_result = monotonic()
        self._told: tuple[NodeState, int] = ("STARTING", time.time_ns())

    def enter(self, phase: Literal["STARTING", "RUNNING", "STOPPING"], reason: str = "") -> None:
        """Goes over to another phase of the node's life."""
        self._phase, self._phase_reason = phase, reason
        self._last_result = self._monotonic()

    def succeeded(self, state: StreamState) -> None:
        """A frame was processed."""
        self.steps += 1
        self.used, self.windows, self.boxes = state.samples, state.windows, state.outside
        self.failure = ""
        self._last_result = self._monotonic()

    def window_took(self, seconds: float) -> None:
        """A window ran, in so many seconds."""
        self._slowest_s = max(self._slowest_s, seconds)

    def failed_with(self, error: str) -> bool:
        """A frame could not be processed; True when this error is new."""
        self.failed += 1
        self.failure = error
        is_new = error not in self._errors
        if len(self._errors) < MOST_ERRORS:
            self._errors.add(error)
            return is_new
        return False

    def status(self) -> NodeStatus:
        """How the node is now."""
        state, reason = self._state()
        if state != self._told[0]:
            self._told = (state, time.time_ns())
        return NodeStatus(
            state=state,
            reason=reason,
            since_ns=self._told[1],
            frames_in=self._source.frames_in,
            frames_used=self.used,
            frames_dropped=self._source.dropped,
            frames_failed=self.failed,
            latency_ms=self.latency.percentiles(),
        )

    def line(self) -> str:
        """How the node is, in one line for people."""
        status = self.status()
        age = status.latency_ms.get("age")
        parts = [
            status.state,
            status.reason,
            f"{status.frames_in} frames in",
            f"{status.frames_dropped} dropped",
            f"{status.frames_failed} failed" if status.frames_failed else "",
            f"age {age.p50:.0f} ms, p95 {age.p95:.0f} ms" if age is not None else "",
        ]
        return " · ".join(part for part in parts if part)

    def _state(self) -> tuple[NodeState, str]:
        if self._phase != "RUNNING":
            return self._phase, self._phase_reason
        source = self._source.status
        if source.state != "RUNNING":
            return source.state, source.reason
        limit_s = max(self._stall_s, STALL_WINDOWS * self._slowest_s)
        if self._monotonic() - self._last_result > limit_s:
            return "STALLED", self.failure or f"no result for more than {limit_s:.0f} s"
        return "RUNNING", source.reason


class Heartbeat:
    """A thread that calls `beat` ten times a second, so that meta and status go out while the loop waits or computes.

    An error in `beat` is told to `report`, once; the beating goes on.
    """

    PERIOD_S = 0.1

    def __init__(self, beat: Callable[[], None], report: Callable[[str], None]) -> None:
        self._beat = beat
        self._report = report
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="henasy-heartbeat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; calling it again does nothing."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        failed = False
        while True:
            try:
                self._beat()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next beat may work and must come
                if not failed:
                    self._report(f"status messages: {one_line(error)}")
                failed = True
            if self._stop.wait(self.PERIOD_S):
                return
