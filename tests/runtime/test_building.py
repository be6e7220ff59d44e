"""While an engine is built before a node can run, subscribers and systemd hear of it, in the session that follows."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
from rich.console import Console

from henasy_stream import loading
from henasy_stream.errors import UserError
from henasy_stream.runtime.node import run
from henasy_stream.runtime.options import LiveOptions
from henasy_stream.runtime.report import Reporter


class Listener:
    """Collects the status messages of an address."""

    def __init__(self, address: str) -> None:
        self.heard: list[dict[str, Any]] = []
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"henasy/1/status")
        self._socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self._socket.connect(address)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._stop.is_set():
            if self._socket.poll(50):
                self.heard.append(msgspec.msgpack.decode(self._socket.recv_multipart()[1]))

    def wait_for(self, state: str) -> None:
        end = time.monotonic() + 60
        while not any(told["state"] == state for told in self.heard):
            assert time.monotonic() < end, f"{state} was never told"
            time.sleep(0.02)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close(0)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def listener(port: int) -> Iterator[Listener]:
    one = Listener(f"tcp://127.0.0.1:{port}")
    yield one
    one.close()


def options(port: int) -> LiveOptions:
    return LiveOptions(source="world", publish=f"zmq://127.0.0.1:{port}", headless=True, max_frames=8)


def reporter() -> tuple[Reporter, io.StringIO]:
    said = io.StringIO()
    return Reporter(Console(file=said, width=200)), said


def test_an_engine_that_is_built_is_told_of_until_the_node_runs(
    port: int, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = loading.load

    def building(name: str, backend: str, *, report: Any, building: Any) -> loading.Model:
        building(0.0, "")
        building(0.43, "timing tactics")
        listener.wait_for("BUILDING")
        return load(name, "onnxruntime", report=report)

    monkeypatch.setattr(loading, "load", building)
    assert run(options(port), reporter()[0]) == 0
    listener.wait_for("STOPPING")
    states = [told["state"] for told in listener.heard]
    first_run = states.index("RUNNING")
    assert set(states[: states.index("BUILDING") + 1]) == {"BUILDING"}
    assert "BUILDING" not in states[first_run:]
    reasons = {told["reason"] for told in listener.heard if told["state"] == "BUILDING"}
    assert "building the TensorRT engine, 43%" in reasons
    assert len({told["session"] for told in listener.heard}) == 1
    numbers = [told["seq"] for told in listener.heard]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_node_that_builds_nothing_says_nothing_of_it(port: int, listener: Listener) -> None:
    our, said = reporter()
    assert run(options(port), our) == 0
    assert all(told["state"] != "BUILDING" for told in listener.heard)
    assert "engine" not in said.getvalue()


def test_a_build_that_fails_ends_its_beats(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(name: str, backend: str, *, report: Any, building: Any) -> loading.Model:
        building(0.1, "")
        raise UserError("the graph is refused")

    monkeypatch.setattr(loading, "load", failing)
    with pytest.raises(UserError, match="refused"):
        run(options(port), reporter()[0])
    assert not [thread for thread in threading.enumerate() if thread.name == "henasy-heartbeat"]


def test_systemd_is_asked_for_more_time(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        told: list[bytes] = []

        def building(name: str, backend: str, *, report: Any, building: Any) -> loading.Model:
            building(0.25, "")
            while not told or b"EXTEND" not in told[-1]:
                told.append(manager.recv(4096))
            raise UserError("enough")

        monkeypatch.setattr(loading, "load", building)
        with pytest.raises(UserError, match="enough"):
            run(options(port), reporter()[0])
    assert told[-1] == b"EXTEND_TIMEOUT_USEC=60000000\nSTATUS=building the TensorRT engine, 25%"
