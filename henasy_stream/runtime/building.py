"""What a node does while an engine is built before it can run: it says so, to people, subscribers and systemd."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from types import TracebackType

from henasy_stream._building import BuildBar
from henasy_stream.runtime.monitor import Heartbeat
from henasy_stream.runtime.report import Reporter
from henasy_stream.runtime.service import ServiceManager
from henasy_stream.sinks.builder import MessageBuilder, NodeStatus
from henasy_stream.sinks.publisher import Publisher, Sink
from henasy_stream.sources.base import Source

_EXTEND_S = 10.0
"""Between two requests for more time to start."""


class Building:
    """A context manager to be called with the share that is done; until the first call it does nothing.

    Args:
        reporter: draws the bar.
        source: whose frames are counted meanwhile.
        builder: makes the messages of this session; it has no model yet.
        sinks: where BUILDING goes.
        service: asked for more time to start.
    """

    def __init__(
        self,
        reporter: Reporter,
        source: Source,
        builder: MessageBuilder,
        sinks: Sequence[Sink],
        service: ServiceManager,
    ) -> None:
        self._reporter = reporter
        self._source = source
        self._publisher = Publisher(builder, sinks)
        self._service = service
        self._bar = BuildBar(partial(reporter.bar, "engine", counted="shares"))
        self._reason = ""
        self._since_ns = 0
        self._extend_at = float("-inf")
        self._beats: Heartbeat | None = None

    def __enter__(self) -> Building:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._beats is not None:
            self._beats.close()
        self._bar.__exit__(kind, error, trace)

    def __call__(self, share: float, phase: str) -> None:
        """So much of the engine is built, 0 to 1."""
        self._reason = f"building the TensorRT engine, {share:.0%}"
        self._bar(share, phase)
        if self._beats is None:
            self._since_ns = time.time_ns()
            self._beats = Heartbeat(self._beat, self._reporter.warn)

    def _beat(self) -> None:
        self._publisher.status(
            NodeStatus(
                state="BUILDING",
                reason=self._reason,
                since_ns=self._since_ns,
                frames_in=self._source.frames_in,
                frames_dropped=self._source.dropped,
            )
        )
        if time.monotonic() >= self._extend_at:
            self._extend_at = time.monotonic() + _EXTEND_S
            self._service.takes_time(self._reason, 6 * _EXTEND_S)
