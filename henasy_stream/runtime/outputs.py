"""Everything that a perception goes to; one that fails does not take the others with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from henasy_stream.sinks.messages import TOPICS, Message
from henasy_stream.types import Perception


class Output(Protocol):
    """A publisher, a video file, a window."""

    def write(self, perception: Perception) -> None:
        """Takes what one step made of a frame."""
        ...

    def close(self) -> None:
        """Finishes what is open."""
        ...


class Outputs:
    """Writes to all outputs in order; the first failure of each is reported, the others are counted in `failures`.

    Args:
        report: takes a line for the user.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._outputs: dict[str, Output] = {}
        self._report = report
        self.failures: Counter[str] = Counter()

    def add(self, name: str, output: Output) -> None:
        """Adds an output under the name that reports use."""
        self._outputs[name] = output

    def write(self, perception: Perception) -> None:
        """Hands the perception to every output."""
        for name, output in self._outputs.items():
            self.attempt(name, partial(output.write, perception))

    def close(self) -> None:
        """Finishes every output; calling it again does nothing."""
        while self._outputs:
            name, output = self._outputs.popitem()
            self.attempt(name, output.close)

    def attempt(self, name: str, action: Callable[[], None]) -> None:
        """Runs the action; a failure counts as one of the output `name`."""
        try:
            action()
        except Exception as error:  # noqa: BLE001 - a codec or a disk may fail in any way
            self.failures[name] += 1
            if self.failures[name] == 1:
                self._report(f"{name}: {one_line(error)}; the rest goes on, and the summary counts what is missing")


class TopicCounter:
    """A message sink that counts, by topic."""

    not_sent = 0

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def send(self, batch: Sequence[Message]) -> None:
        """Counts the messages."""
        self.counts.update(message.topic for message in batch)

    def close(self) -> None:
        """Nothing to free."""

    @property
    def by_name(self) -> dict[str, int]:
        """Messages by the last word of the topic, in the documentation's order."""
        return {topic.rpartition("/")[2]: self.counts[topic] for topic in TOPICS if self.counts[topic]}


def one_line(error: Exception) -> str:
    """What an error says, without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
