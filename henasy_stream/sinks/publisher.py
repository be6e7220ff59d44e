"""Carries the messages of one builder to every sink."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from typing import Protocol

from henasy_stream.sinks.builder import MessageBuilder, NodeStatus
from henasy_stream.sinks.messages import Message
from henasy_stream.types import ModelSpec, Perception


class Sink(Protocol):
    """Where messages go: a file, a socket.  Never blocks, never raises for what happens after it was opened."""

    @property
    def not_sent(self) -> int:
        """Messages that this sink gave up."""
        ...

    def send(self, batch: Sequence[Message]) -> None:
        """Takes messages in order."""
        ...

    def close(self) -> None:
        """Frees the file or the socket; nothing can be sent afterwards."""
        ...


class Publisher:
    """One builder and the sinks that it feeds, so that all of them carry the same messages.

    May be called from several threads: a watchdog can tell that the loop stalled.
    """

    def __init__(self, builder: MessageBuilder, sinks: Sequence[Sink]) -> None:
        self.builder = builder
        self.sinks = tuple(sinks)
        self.sent = 0
        self._lock = threading.Lock()

    @property
    def not_sent(self) -> int:
        """Messages that one of the sinks gave up."""
        return sum(sink.not_sent for sink in self.sinks)

    def write(self, perception: Perception) -> None:
        """Sends what one step made of a frame."""
        with self._lock:
            self._send(self.builder.perception(perception))

    def status(self, status: NodeStatus) -> None:
        """Sends meta and status when they are due, with the sinks' own count of what was not sent.

        Call it at least ten times a second, so that a beat is never much late.
        """
        with self._lock:
            self._send(self.builder.heartbeat(dataclasses.replace(status, messages_not_sent=self.not_sent)))

    def set_model(self, spec: ModelSpec, labels: Sequence[str] | None = None) -> None:
        """Names the model that speaks from now on, and what `label_index` counts."""
        with self._lock:
            self.builder.set_model(spec, labels)

    def close(self) -> None:
        """Closes every sink."""
        with self._lock:
            for sink in self.sinks:
                sink.close()

    def _send(self, batch: Sequence[Message]) -> None:
        for sink in self.sinks:
            sink.send(batch)
        self.sent += len(batch)
