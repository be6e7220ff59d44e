"""The receiving end of a publisher: reconnects, keeps the latest, counts what was lost.  See `henasy_stream.client`."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from henasy_stream.errors import UserError
from henasy_stream.receiver import CHECK_S, Receiver
from henasy_stream.sinks import wire
from henasy_stream.sinks.messages import PREFIX, TOPICS, Message

MAX_PART_BYTES = 64 * 2**20

_log = logging.getLogger(__name__)
_BATCH = 1000


class Subscription:
    """Messages as they come: an iterator and a context manager, for one thread.  See `client.subscribe`.

    Attributes:
        received: messages received, by (session, topic), those among them that `latest` skipped included.
        gaps: messages lost on the way, by (session, topic), counted from the first one received of each.
        sessions: of the publisher, in the order of appearance; one more for each restart.
        malformed: messages that were none.
        problem: what was wrong last, with a message or with the connection; the first is also logged.
    """

    def __init__(
        self,
        endpoint: str,
        topics: Sequence[str],
        *,
        latest: bool,
        timeout_s: float | None,
        curve_public_file: str | Path | None,
    ) -> None:
        self.endpoint = endpoint
        self.received: Counter[tuple[str, str]] = Counter()
        self.gaps: Counter[tuple[str, str]] = Counter()
        self.sessions: list[str] = []
        self.malformed = 0
        self.problem: str | None = None
        self._latest = latest
        self._timeout_s = timeout_s
        self._next_seq: dict[tuple[str, str], int] = {}
        self._pending: dict[str, Message] = {}
        self._receiver = Receiver(
            endpoint,
            [_topic(name) for name in topics],
            max_part_bytes=MAX_PART_BYTES,
            curve_public_file=curve_public_file,
        )

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        message = self.receive(self._timeout_s)
        if message is None:
            raise TimeoutError(f"no message from {self.endpoint} for {self._timeout_s} s; does a node publish there?")
        return message

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message; None when there was none for `timeout_s` seconds (None waits for ever)."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            message = self._newest() if self._latest else self._read()
            if message is not None:
                return message
            left_s = CHECK_S if deadline is None else min(deadline - time.monotonic(), CHECK_S)
            if not self._receiver.poll(left_s):
                if self._receiver.revive():
                    self._tell(
                        f"connection lost to a message part over {MAX_PART_BYTES} bytes, or to a peer without our "
                        "protocol or key"
                    )
                if deadline is not None and time.monotonic() >= deadline:
                    return None

    def close(self) -> None:
        """Disconnects."""
        self._receiver.close()

    def _tell(self, problem: str) -> None:
        if self.problem is None:
            _log.warning("%s: %s; told once", self.endpoint, problem)
        self.problem = problem

    def _newest(self) -> Message | None:
        """The pending message that has waited longest, after all that arrived took the place of older ones.

        A renewed topic keeps its turn, so that two busy topics cannot starve each other.
        """
        for _ in range(_BATCH):
            message = self._read()
            if message is None:
                break
            self._pending[message.topic] = message
        oldest = next(iter(self._pending), None)
        return None if oldest is None else self._pending.pop(oldest)

    def _read(self) -> Message | None:
        """The next message off the socket; None when there is none now."""
        while True:
            parts = self._receiver.read()
            if parts is None:
                return None
            try:
                message = wire.from_wire(parts)
            except wire.MessageError as error:
                self.malformed += 1
                self._tell(str(error))
                continue
            if message is not None:
                self._count(message)
                return message

    def _count(self, message: Message) -> None:
        if message.session not in self.sessions:
            self.sessions.append(message.session)
        key = (message.session, message.topic)
        self.received[key] += 1
        expected = self._next_seq.get(key, message.seq)
        self.gaps[key] += max(0, message.seq - expected)
        self._next_seq[key] = max(expected, message.seq + 1)


def _topic(name: str) -> str:
    topic = name if name.startswith(PREFIX) else PREFIX + name
    if topic not in TOPICS:
        raise UserError(f"topic {name}: not one of {', '.join(t[len(PREFIX) :] for t in TOPICS)}")
    return topic
