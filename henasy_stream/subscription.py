"""The receiving end of a publisher: reconnects, keeps the latest, counts what was lost.  See `henasy_stream.client`."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import zmq
import zmq.auth
from zmq.utils.monitor import recv_monitor_message

from henasy_stream.errors import UserError
from henasy_stream.sinks import wire
from henasy_stream.sinks.messages import PREFIX, TOPICS, Message

MAX_PART_BYTES = 64 * 2**20

_log = logging.getLogger(__name__)
_BATCH = 1000
_CHECK_S = 0.5
_WATCHED = zmq.EVENT_CONNECTED | zmq.EVENT_CONNECT_RETRIED | zmq.EVENT_DISCONNECTED


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
        self._address = endpoint.replace("zmq://", "tcp://", 1)
        self._dead_since: float | None = None
        names = [_topic(name) for name in topics]
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        try:
            _configure(self._socket, endpoint, curve_public_file)
            for name in names:
                self._socket.setsockopt_string(zmq.SUBSCRIBE, name)
            self._monitor = self._socket.get_monitor_socket(_WATCHED)
            self._connect()
        except BaseException:
            self.close()
            raise

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
            left_s = _CHECK_S if deadline is None else min(deadline - time.monotonic(), _CHECK_S)
            if not self._socket.poll(max(0, int(left_s * 1000))):
                if deadline is not None and time.monotonic() >= deadline:
                    return None
                self._revive()

    def close(self) -> None:
        """Disconnects."""
        self._context.destroy(linger=0)

    def _connect(self) -> None:
        try:
            self._socket.connect(self._address)
        except zmq.ZMQError as error:
            raise UserError(f"{self.endpoint}: {error.strerror}; write one like tcp://127.0.0.1:5560") from error

    def _revive(self) -> None:
        """Connects again where libzmq does not: after a part over the limit, or a peer that spoke something else.

        Called when nothing waits to be read, so nothing is lost by it.
        """
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)["event"]
            self._dead_since = time.monotonic() if event == zmq.EVENT_DISCONNECTED else None
        if self._dead_since is None or time.monotonic() < self._dead_since + _CHECK_S:
            return
        self._dead_since = None
        self._tell(
            f"connection lost to a message part over {MAX_PART_BYTES} bytes, or to a peer without our protocol or key"
        )
        self._socket.disconnect(self._address)
        self._socket.connect(self._address)

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
            try:
                message = wire.from_wire(self._socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return None
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


def _configure(socket: zmq.Socket[bytes], endpoint: str, curve_public_file: str | Path | None) -> None:
    options = {
        zmq.LINGER: 0,
        zmq.MAXMSGSIZE: MAX_PART_BYTES,
        zmq.RECONNECT_IVL: 100,
        zmq.RECONNECT_IVL_MAX: 1000,
        # A publisher whose machine vanished never closes the connection.  Not ZeroMQ's own heartbeat: it takes a
        # full queue for a dead peer.
        zmq.TCP_KEEPALIVE: 1,
        zmq.TCP_KEEPALIVE_IDLE: 4,
        zmq.TCP_KEEPALIVE_INTVL: 2,
        zmq.TCP_KEEPALIVE_CNT: 3,
        zmq.IPV6: int("[" in endpoint),
    }
    for option, value in options.items():
        socket.setsockopt(option, value)
    if curve_public_file is None:
        return
    try:
        server, _ = zmq.auth.load_certificate(curve_public_file)
    except (OSError, ValueError) as error:
        raise UserError(f"CURVE key {curve_public_file}: {error}; name the publisher's .key file") from error
    public, secret = zmq.curve_keypair()
    socket.setsockopt(zmq.CURVE_SERVERKEY, server)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
