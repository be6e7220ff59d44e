"""Says in time why a robot does not see the topics, where ROS would be silent."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from henasy_stream.ros.topics import TOPICS, Topic

PATIENCE_S = 15.0
"""How long nobody may listen before a line says what may be the reason."""


class Watched(Protocol):
    """What is asked of a node."""

    def listeners(self, topic: Topic) -> int:
        """How many readers are matched with the topic."""
        ...

    def refused(self, topic: Topic) -> str | None:
        """The policy for which a reader and the topic did not come together; None: that never happened."""
        ...

    def reach(self) -> str:
        """Who can see the topics, and what to do where that is not enough."""
        ...


class DdsWatch:
    """Reports once that nobody listens, and once a topic that a reader asks for more than it gets.

    Args:
        node: whose topics.
        report: takes a line for the user.
        monotonic_s: the clock.
    """

    def __init__(
        self, node: Watched, report: Callable[[str], None], *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._node = node
        self._report = report
        self._monotonic_s = monotonic_s
        self._alone_since: float | None = monotonic_s()
        self._refusing: set[Topic] = set()

    def look(self) -> None:
        """Looks at all topics; to be called about once a second."""
        for topic in TOPICS:
            policy = self._node.refused(topic)
            if policy is not None and topic not in self._refusing:
                self._refusing.add(topic)
                self._report(
                    f"publish ros2: a reader of {topic.name} gets nothing, it asks for another {policy} "
                    "(docs/dds.md, QoS)"
                )
        if self._alone_since is None:
            return
        if any(self._node.listeners(topic) for topic in TOPICS):
            self._alone_since = None
        elif self._monotonic_s() - self._alone_since >= PATIENCE_S:
            self._alone_since = None
            self._report(f"publish ros2: nobody listens yet; {self._node.reach()}")
