"""Receives what a node publishes; needs pyzmq and msgspec only.

    from henasy_stream.client import subscribe

    with subscribe("tcp://127.0.0.1:5560", topics=["caption", "tracks"]) as messages:
        for message in messages:
            print(message.topic, message.seq, messages.gaps.total())

`python -m henasy_stream.client tcp://127.0.0.1:5560` prints captions and tracks.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import zmq
import zmq.auth

from henasy_stream.errors import UserError
from henasy_stream.sinks import wire
from henasy_stream.sinks.messages import PREFIX, TOPICS, Caption, Message, Status, Tracks

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5560"
MAX_PART_BYTES = 64 * 2**20

_log = logging.getLogger(__name__)
_BATCH = 1000


def subscribe(
    endpoint: str = DEFAULT_ENDPOINT,
    topics: Sequence[str] = TOPICS,
    *,
    latest: bool = True,
    timeout_s: float | None = None,
    curve_public_file: str | Path | None = None,
) -> Subscription:
    """Subscribes to a publisher, which need not be there yet, may restart, and is found again.

    Args:
        endpoint: `tcp://host:port`, `zmq://host:port` or `ipc://path`.
        topics: `henasy/1/caption` or `caption`, and so on; all of them by default.
        latest: a reader that falls behind gets the newest message of each topic and skips the older ones, which may
            skip a caption's `final`.  False: every message, in the order of arrival.
        timeout_s: iterating raises TimeoutError when nothing came for so long; None waits for ever.
        curve_public_file: the publisher's `.key` file, when it publishes with CURVE.

    Raises:
        UserError: the endpoint or a topic makes no sense, or the key cannot be read.
    """
    return Subscription(endpoint, topics, latest=latest, timeout_s=timeout_s, curve_public_file=curve_public_file)


class Subscription:
    """Messages as they come: an iterator and a context manager, for one thread.  See `subscribe`.

    Attributes:
        received: messages received, by (session, topic), those among them that `latest` skipped included.
        gaps: messages lost on the way, by (session, topic), counted from the first one received of each.
        sessions: of the publisher, in the order of appearance; one more for each restart.
        malformed: messages that were none; the newest reason is in `problem`.
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
        names = [_topic(name) for name in topics]
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        try:
            _configure(self._socket, endpoint, curve_public_file)
            for name in names:
                self._socket.setsockopt_string(zmq.SUBSCRIBE, name)
            self._connect(endpoint)
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
            left_ms = None if deadline is None else max(0, int((deadline - time.monotonic()) * 1000))
            if not self._socket.poll(left_ms):
                return None

    def close(self) -> None:
        """Disconnects."""
        self._context.destroy(linger=0)

    def _connect(self, endpoint: str) -> None:
        try:
            self._socket.connect(endpoint.replace("zmq://", "tcp://", 1))
        except zmq.ZMQError as error:
            raise UserError(f"{endpoint}: {error.strerror}; write one like {DEFAULT_ENDPOINT}") from error

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
                self.problem = str(error)
                if self.malformed == 1:
                    _log.warning("%s: %s; counted from now on", self.endpoint, error)
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


def readable(message: Message) -> str:
    """One line for people."""
    seconds = "" if message.stamp_ns is None else f"{message.stamp_ns / 1e9:.3f} s"
    name = message.topic[len(PREFIX) :]
    if isinstance(message, Caption):
        text = f"{message.text} ({message.score:.2f}){' — ended' if message.final else ''}"
    elif isinstance(message, Tracks):
        text = "  ".join(
            f"{t.label}#{t.id} {t.score:.2f}{'' if t.state == 'tracked' else f' {t.state}'}" for t in message.tracks
        )
        text = text or "nothing"
    elif isinstance(message, Status):
        text = f"{message.state} {message.reason}"
    else:
        text = f"{sum(map(len, message.parts))} bytes"
    return f"{seconds:>12}  {name:<7}  {text}".rstrip()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m henasy_stream.client", description="Prints what a node publishes.  Ctrl-C ends it."
    )
    parser.add_argument("endpoint", nargs="?", default=DEFAULT_ENDPOINT, help="default: %(default)s")
    parser.add_argument("--topics", default="caption,tracks", help="comma-separated; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, as in a record")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="end after N messages")
    parser.add_argument("--timeout", type=float, metavar="S", help="fail when no message came for S seconds")
    parser.add_argument("--curve", metavar="FILE", help="the publisher's public key, when it publishes with CURVE")
    options = parser.parse_args(arguments)
    topics = [name.strip() for name in options.topics.split(",")]
    try:
        with subscribe(
            options.endpoint, topics, latest=False, timeout_s=options.timeout, curve_public_file=options.curve
        ) as messages:
            return _print_all(messages, as_json=options.json, count=options.count)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


def _print_all(messages: Subscription, *, as_json: bool, count: int) -> int:
    sessions = 0
    code = 0
    try:
        for number, message in enumerate(messages, 1):
            if len(messages.sessions) > sessions:
                sessions = len(messages.sessions)
                print(f"session {message.session}", file=sys.stderr)
            line = wire.to_json_line(message).decode().rstrip("\n") if as_json else readable(message)
            print(line, flush=True)
            if number == count:
                break
    except KeyboardInterrupt:
        pass
    except TimeoutError as error:
        print(error, file=sys.stderr)
        code = 1
    except BrokenPipeError:
        # `| head` has read enough; the interpreter would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    lost, malformed = messages.gaps.total(), messages.malformed
    print(f"{messages.received.total()} messages, {lost} lost, {malformed} malformed", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
