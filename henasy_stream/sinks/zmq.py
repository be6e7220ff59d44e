"""Publishes messages over ZeroMQ: multipart [topic, msgpack body, binary part…]."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import zmq

from henasy_stream.sinks import wire
from henasy_stream.sinks.binding import bind
from henasy_stream.sinks.messages import TOPICS, Message

DEFAULT_ENDPOINT = "zmq://127.0.0.1:5560"
SEND_HIGH_WATER_MARK = 32
"""Messages that wait for a slow subscriber before it starts to lose some."""

FAREWELL_MS = 250
"""How long closing may wait for the last messages (`final`, STOPPING) to leave."""

_QUIET_S = 0.1
_PAUSE_S = 0.01


class ZmqSink:
    """A PUB socket (XPUB, which sees who subscribes).  It never blocks and binds to this machine unless told.

    A slow subscriber loses messages and sees it by `seq`; nobody else is held up.  LINGER is 0 while it runs.
    May be used from several threads.

    Args:
        endpoint: `zmq://host:port` or `tcp://host:port` (port 0 or *: any free one), or `ipc://path`.
        allow_remote: bind to an address that other machines can reach.
        curve_secret_file: the `.key_secret` file of `zmq.auth.create_certificates`; encrypts, and proves to clients who
            publishes.  It does not restrict who may subscribe.

    Raises:
        UserError: the endpoint makes no sense, is taken, is not of this machine, or is remote without `allow_remote`.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        allow_remote: bool = False,
        curve_secret_file: str | Path | None = None,
    ) -> None:
        self.not_sent = 0
        self._subscriptions: Counter[bytes] = Counter()
        self._lock = threading.Lock()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        try:
            self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)
            self._socket.setsockopt(zmq.SNDHWM, SEND_HIGH_WATER_MARK)
            self._socket.setsockopt(zmq.LINGER, 0)
            bind(
                self._socket, endpoint, option="publish", allow_remote=allow_remote, curve_secret_file=curve_secret_file
            )
        except BaseException:
            self._context.destroy(linger=0)
            raise

    @property
    def endpoint(self) -> str:
        """Where clients connect; holds the port that was found when any free one was asked for."""
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    @property
    def subscribers(self) -> int:
        """Subscribers of the topic that most are subscribed to."""
        self._read_subscriptions()
        return max(
            sum(n for prefix, n in self._subscriptions.items() if topic.encode().startswith(prefix)) for topic in TOPICS
        )

    def send(self, batch: Sequence[Message]) -> None:
        """Publishes the messages; what the socket refuses is counted, never waited for."""
        self._read_subscriptions()
        with self._lock:
            for message in batch:
                self._send(message)

    def wait_subscribers(self, count: int, timeout_s: float) -> bool:
        """Waits until `count` subscribers are there and all they subscribe to is known; False when the time is over.

        From then on they miss no message but by being slow.
        """
        deadline = time.monotonic() + timeout_s
        while self.subscribers < count:
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE_S)
        # A subscriber names its topics one by one.
        quiet_since = time.monotonic()
        while time.monotonic() < quiet_since + _QUIET_S:
            if self._read_subscriptions():
                quiet_since = time.monotonic()
            time.sleep(_PAUSE_S)
        return True

    def close(self) -> None:
        """Unbinds.  Messages on their way get a quarter of a second."""
        with self._lock:
            self._socket.close(linger=FAREWELL_MS)
            self._context.term()

    def _send(self, message: Message) -> None:
        try:
            self._socket.send_multipart(wire.to_wire(message), flags=zmq.NOBLOCK)
        except zmq.Again:
            self.not_sent += 1

    def _read_subscriptions(self) -> int:
        """Takes all notices of subscribers that came or went, so that their queue does not grow; returns how many."""
        taken = 0
        with self._lock:
            while self._socket.poll(0, zmq.POLLIN):
                notice = self._socket.recv(zmq.NOBLOCK)
                taken += 1
                if notice[:1] == b"\x01":
                    self._subscriptions[notice[1:]] += 1
                elif notice[:1] == b"\x00":
                    self._subscriptions[notice[1:]] -= 1
                    self._subscriptions += Counter()  # forgets those at 0: a subscriber may name any topic
        return taken
