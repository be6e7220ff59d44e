"""A ZeroMQ SUB socket that need not find its publisher, finds it again, and takes no part over a bound."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import zmq
import zmq.auth
from zmq.utils.monitor import recv_monitor_message

from henasy_stream.errors import UserError

CHECK_S = 0.5
_WATCHED = zmq.EVENT_CONNECTED | zmq.EVENT_CONNECT_RETRIED | zmq.EVENT_DISCONNECTED


class Receiver:
    """Connected to `endpoint` (`tcp://`, `zmq://` or `ipc://`) and subscribed to `topics`; for one thread.

    Args:
        endpoint: the publisher's.
        topics: whole topics, or what they begin with.
        max_part_bytes: a longer part drops the connection, which `revive` makes again.
        curve_public_file: the publisher's `.key` file, when it publishes with CURVE.

    Raises:
        UserError: the endpoint makes no sense, or the key cannot be read.
    """

    def __init__(
        self, endpoint: str, topics: Sequence[str], *, max_part_bytes: int, curve_public_file: str | Path | None = None
    ) -> None:
        self._endpoint = endpoint
        self._address = endpoint.replace("zmq://", "tcp://", 1)
        self._dead_since: float | None = None
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.SUB)
        try:
            _configure(self.socket, endpoint, max_part_bytes, curve_public_file)
            for topic in topics:
                self.socket.setsockopt_string(zmq.SUBSCRIBE, topic)
            self._monitor = self.socket.get_monitor_socket(_WATCHED)
            self._connect()
        except BaseException:
            self.close()
            raise

    def read(self) -> list[bytes] | None:
        """The next message's parts; None when there is none now."""
        try:
            return self.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def poll(self, timeout_s: float) -> bool:
        """Whether there is something to read, waiting for it up to `timeout_s`."""
        return bool(self.socket.poll(max(0, int(timeout_s * 1000))))

    def revive(self) -> bool:
        """Connects again where libzmq does not: after a part over the limit, or a peer that spoke something else.

        Call it when nothing waits to be read, so that nothing is lost by it.  True when it did.
        """
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)["event"]
            self._dead_since = time.monotonic() if event == zmq.EVENT_DISCONNECTED else None
        if self._dead_since is None or time.monotonic() < self._dead_since + CHECK_S:
            return False
        self._dead_since = None
        self.socket.disconnect(self._address)
        self.socket.connect(self._address)
        return True

    def close(self) -> None:
        """Disconnects."""
        self._context.destroy(linger=0)

    def _connect(self) -> None:
        try:
            self.socket.connect(self._address)
        except zmq.ZMQError as error:
            raise UserError(f"{self._endpoint}: {error.strerror}; write one like tcp://127.0.0.1:5560") from error


def _configure(
    socket: zmq.Socket[bytes], endpoint: str, max_part_bytes: int, curve_public_file: str | Path | None
) -> None:
    options = {
        zmq.LINGER: 0,
        zmq.MAXMSGSIZE: max_part_bytes,
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
    use_curve(socket, curve_public_file)


def use_curve(socket: zmq.Socket[bytes], curve_public_file: str | Path | None) -> None:
    """Has a client's socket talk to nobody but the holder of the secret key that belongs to the `.key` file, if any.

    Raises:
        UserError: the key cannot be read.
    """
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
