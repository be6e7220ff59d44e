"""Publishes messages over ZeroMQ: multipart [topic, msgpack body, binary part…]."""

from __future__ import annotations

import errno
import ipaddress
import socket as system_socket
import stat
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import zmq
import zmq.auth

from henasy_stream.errors import UserError
from henasy_stream.sinks import wire
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
        address = _bind_address(endpoint, allow_remote=allow_remote)
        self.not_sent = 0
        self._subscriptions: Counter[bytes] = Counter()
        self._lock = threading.Lock()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        try:
            self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)
            self._socket.setsockopt(zmq.SNDHWM, SEND_HIGH_WATER_MARK)
            self._socket.setsockopt(zmq.LINGER, 0)
            self._socket.setsockopt(zmq.IPV6, int(address.startswith("tcp://[")))
            if curve_secret_file is not None:
                _serve_curve(self._socket, Path(curve_secret_file))
            self._bind(endpoint, address)
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

    def _bind(self, endpoint: str, address: str) -> None:
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            if error.errno == errno.EADDRINUSE:
                raise UserError(
                    f"publish {endpoint}: the address is in use: stop the program that publishes there, "
                    f"or use another one, such as --publish {_neighbour(address)}"
                ) from error
            raise UserError(
                f"publish {endpoint}: {error.strerror}; name an address of this machine, such as {DEFAULT_ENDPOINT}"
            ) from error

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
        return taken


def _bind_address(endpoint: str, *, allow_remote: bool) -> str:
    """The endpoint as libzmq wants it, refused unless it makes sense and stays on this machine."""
    scheme, separator, rest = endpoint.partition("://")
    if not separator or scheme not in ("zmq", "tcp", "ipc") or not rest:
        raise UserError(f"publish {endpoint}: not an endpoint; write one like {DEFAULT_ENDPOINT} or ipc:///run/henasy")
    if scheme == "ipc":
        _check_ipc(endpoint, rest)
        return endpoint
    host, separator, port = rest.rpartition(":")
    if not separator or not host or not (port == "*" or (port.isascii() and port.isdigit() and int(port) < 65536)):
        raise UserError(f"publish {endpoint}: no port between 0 and 65535; write one like {DEFAULT_ENDPOINT}")
    if host == "localhost":
        host = "127.0.0.1"
    if not allow_remote and not _is_loopback(host):
        raise UserError(
            f"publish {endpoint}: other machines could read it; add --publish-remote if they may, "
            f"or publish to 127.0.0.1"
        )
    return f"tcp://{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_ipc(endpoint: str, path: str) -> None:
    """ZeroMQ removes whatever is at the path before it binds; that must be nothing but a socket nobody listens to."""
    place = Path(path)
    if path.startswith("@") or not place.exists():
        return
    if not stat.S_ISSOCK(place.stat().st_mode):
        raise UserError(f"publish {endpoint}: {path} exists and is no socket; name another path")
    with system_socket.socket(system_socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return
    raise UserError(
        f"publish {endpoint}: the address is in use: stop the program that publishes there, or use another path"
    )


def _neighbour(address: str) -> str:
    host, _, port = address.rpartition(":")
    return f"zmq{host[3:]}:{int(port) % 65535 + 1}"


def _serve_curve(socket: zmq.Socket[bytes], file: Path) -> None:
    if not zmq.has("curve"):
        raise UserError("this pyzmq was built without CURVE; install the pyzmq wheel from PyPI")
    try:
        public, secret = zmq.auth.load_certificate(file)
    except (OSError, ValueError) as error:
        raise UserError(
            f"CURVE key {file}: {error}; make one with zmq.auth.create_certificates('.', 'henasy') in Python"
        ) from error
    if secret is None:
        raise UserError(f"CURVE key {file}: holds no secret key; name the file that ends in .key_secret")
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
