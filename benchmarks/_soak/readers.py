"""Subscribers in processes of their own: `python -m benchmarks._soak.readers prompt|fickle ENDPOINT SEED`.

They read until stdin closes, and then print what they counted as one line of JSON.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

import numpy as np
import zmq

from henasy_stream.client import subscribe
from henasy_stream.sinks import wire
from henasy_stream.sinks.messages import PREFIX, Message

_DRAIN_S = 1.0


class Tally:
    """What came in by topic: `received`, `missing` between the first and the last of a connection, and `disorder`,
    messages that came twice or too late.
    """

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}
        self.disorder = 0

    def add(self, message: Message) -> None:
        """Counts a message."""
        topic, seq = message.topic, message.seq
        last = self.last.get(topic)
        if last is None:
            self.first[topic] = seq
        elif seq <= last:
            self.disorder += 1
            return
        else:
            self.missing[topic] += seq - last - 1
        self.received[topic] += 1
        self.last[topic] = seq

    def forget_place(self) -> None:
        """The next message of each topic follows a pause that is no loss."""
        self.last.clear()

    def as_json(self) -> dict[str, object]:
        """For the parent."""
        return {
            "received": self.received,
            "missing": self.missing,
            "first": self.first,
            "last": self.last,
            "disorder": self.disorder,
        }


def prompt(endpoint: str, over: threading.Event) -> dict[str, object]:
    """Reads all there is with the client that users get, whose own count of gaps must be the same."""
    tally = Tally()
    with subscribe(endpoint, latest=False) as messages:
        quiet_since = time.monotonic()
        while not over.is_set() or time.monotonic() < quiet_since + _DRAIN_S:
            message = messages.receive(0.2)
            if message is not None:
                quiet_since = time.monotonic()
                tally.add(message)
        return {**tally.as_json(), "malformed": messages.malformed, "client_gaps": sum(messages.gaps.values())}


def fickle(endpoint: str, over: threading.Event, seed: int) -> dict[str, object]:
    """Reads slowly, stops reading, leaves and comes back, and speaks nonsense to the publisher, in turns by chance."""
    rng, tally, turns = np.random.default_rng(seed), Tally(), Counter[str]()
    reader = _connect(endpoint)
    while not over.is_set():
        turn = ("reads slowly", "stops reading", "leaves and comes back", "speaks nonsense")[rng.integers(4)]
        turns[turn] += 1
        seconds = rng.uniform(0.5, 8)
        if turn == "reads slowly":
            _read(reader, tally, seconds, pause_s=0.05, over=over)
        elif turn == "stops reading":
            over.wait(5 * seconds)  # longer than what lies between can hold
        elif turn == "leaves and comes back":
            reader.context.destroy(linger=0)
            tally.forget_place()
            over.wait(min(seconds, 2))
            reader = _connect(endpoint)
        else:
            _nonsense(endpoint, rng)
        _read(reader, tally, 1.0, pause_s=0.0, over=over)
    reader.context.destroy(linger=0)
    return {**tally.as_json(), "turns": turns}


def _connect(endpoint: str) -> zmq.Socket[bytes]:
    reader = zmq.Context().socket(zmq.SUB)
    reader.setsockopt(zmq.RCVHWM, 4)
    reader.setsockopt(zmq.RCVBUF, 4096)  # so that the publisher's side fills up
    reader.setsockopt_string(zmq.SUBSCRIBE, PREFIX)
    reader.connect(endpoint)
    return reader


def _read(reader: zmq.Socket[bytes], tally: Tally, seconds: float, *, pause_s: float, over: threading.Event) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not over.is_set():
        if reader.poll(100):
            message = wire.from_wire(reader.recv_multipart())
            assert message is not None
            tally.add(message)
            time.sleep(pause_s)


def _nonsense(endpoint: str, rng: np.random.Generator) -> None:
    """A peer that is no ZeroMQ and breaks the connection off."""
    address = urlsplit(endpoint)
    with socket.create_connection((address.hostname, address.port), timeout=5) as peer:
        peer.sendall(rng.bytes(64))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Reader:
    """One of these processes, seen from the parent."""

    def __init__(self, kind: str, endpoint: str, seed: int) -> None:
        command = [sys.executable, "-m", "benchmarks._soak.readers", kind, endpoint, str(seed)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def finish(self) -> dict[str, object]:
        """Tells it to end; what it counted."""
        out, _ = self._process.communicate(timeout=60)
        if self._process.returncode:
            raise RuntimeError(f"a subscriber ended with {self._process.returncode}")
        return dict(json.loads(out))


def main(kind: str, endpoint: str, seed: str) -> None:
    """Runs a reader until stdin closes."""
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    read: dict[str, Callable[[], dict[str, object]]] = {
        "prompt": lambda: prompt(endpoint, over),
        "fickle": lambda: fickle(endpoint, over, int(seed)),
    }
    print(json.dumps(read[kind]()))


if __name__ == "__main__":
    main(*sys.argv[1:])
