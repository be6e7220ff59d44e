"""The record of a run that would fill the disk: a few thousand lines at a time, each read back and then replaced."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from henasy_stream.sinks import wire
from henasy_stream.sinks.jsonl import JsonlSink
from henasy_stream.sinks.messages import Message

LINES = 2000


class RollingRecord:
    """A sink; `holes` counts the sequence numbers that a line's topic skipped or repeated, `counts` lines by topic."""

    def __init__(self, path: Path) -> None:
        self.holes = 0
        self.counts: dict[str, int] = {}
        self._path = path
        self._sink = JsonlSink(path)

    @property
    def not_sent(self) -> int:
        """See `Sink.not_sent`."""
        return self._sink.not_sent

    def send(self, batch: Sequence[Message]) -> None:
        """See `Sink.send`."""
        self._sink.send(batch)
        if self._sink.lines >= LINES:
            self._read_back()
            self._sink = JsonlSink(self._path)

    def close(self) -> None:
        """See `Sink.close`."""
        self._read_back()

    def _read_back(self) -> None:
        self._sink.close()
        with self._path.open("rb") as lines:
            for line in lines:
                message = wire.from_json_line(line)
                assert message is not None
                expected = self.counts.get(message.topic, 0)
                self.holes += message.seq != expected
                self.counts[message.topic] = message.seq + 1
