"""The C++ example is compiled and reads what a publisher sends."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from henasy_stream.sinks import messages, wire
from henasy_stream.sinks.builder import MessageBuilder
from henasy_stream.sinks.zmq import ZmqSink
from tests.sinks import synthetic

ROOT = Path(__file__).parents[2]
PACKAGES = "install g++ libzmq3-dev cppzmq-dev nlohmann-json3-dev"
HEADERS = "#include <nlohmann/json.hpp>\n#include <zmq.hpp>\n#include <zmq_addon.hpp>\n"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def subscriber(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("g++") is None:
        pytest.skip(f"no g++: {PACKAGES}")
    if subprocess.run(["g++", "-x", "c++", "-M", "-"], input=HEADERS, text=True, capture_output=True).returncode:
        pytest.skip(f"no headers of cppzmq or nlohmann/json: {PACKAGES}")
    program = tmp_path_factory.mktemp("cpp") / "subscriber"
    source = ROOT / "examples/cpp/subscriber.cpp"
    flags = ["-std=c++17", "-O0", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["g++", *flags, str(source), "-lzmq", "-o", str(program)], check=True)
    return program


@pytest.fixture
def sink() -> Iterator[ZmqSink]:
    sink = ZmqSink("zmq://127.0.0.1:0")
    yield sink
    sink.close()


def run(program: Path, sink: ZmqSink, count: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [str(program), sink.endpoint, "--count", str(count)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert sink.wait_subscribers(1, 10)
    return process


def test_prints_captions_and_tracks(subscriber: Path, sink: ZmqSink) -> None:
    process = run(subscriber, sink, 3)
    closed = (synthetic.caption(2, "öffnet ein Glas", final=True),)
    sink.send(MessageBuilder(synthetic.SPEC, embeddings=True).perception(synthetic.perception(closed=closed)))
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert output.splitlines() == [
        "2.000 s  tracks   cup#1 tracked [10 20 110 220]  knife#2 tracked [10 20 110 220]",
        "2.000 s  caption  öffnet ein Glas (0.62) - ended",
        "2.000 s  caption  picks up a cup (0.62)",
    ]
    assert errors == "3 messages, 0 lost, 0 malformed\n"


def test_counts_gaps_by_session_and_survives_damage(subscriber: Path, sink: ZmqSink) -> None:
    process = run(subscriber, sink, 6)
    first = MessageBuilder(synthetic.SPEC)
    sent = [first.perception(synthetic.perception(i, caption=None))[0] for i in range(8)]
    sink.send([sent[i] for i in (1, 2, 5, 7)])
    for frames in ([b"henasy/1/tracks"], [b"henasy/1/tracks", b"\xc1"], [b"henasy/1/tracks", b"\x80"]):
        sink._socket.send_multipart(frames)
    sink._socket.send_multipart([b"henasy/1/tracks_of_rain", b"\xc1"], zmq.NOBLOCK)
    second = MessageBuilder(synthetic.SPEC)
    sink.send([second.perception(synthetic.perception(i, caption=None))[0] for i in range(2)])
    _, errors = process.communicate(timeout=20)
    assert errors.splitlines()[-1] == "6 messages, 3 lost, 3 malformed"


def test_reads_what_version_1_once_sent(subscriber: Path, sink: ZmqSink) -> None:
    names = ("tracks", "tracks_after_reset", "tracks_with_later_keys", "caption", "caption_final")
    process = run(subscriber, sink, len(names))
    for name in names:
        frames = msgspec.msgpack.decode((ROOT / f"tests/golden/messages/{name}.msgpack").read_bytes())
        sink._socket.send_multipart(frames)
    output, errors = process.communicate(timeout=20)
    assert len(output.splitlines()) == len(names)
    assert errors.splitlines()[-1].endswith("0 malformed")


def test_reads_the_live_node_on_the_world(subscriber: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    record = tmp_path / "r.jsonl"
    node = [sys.executable, "-m", "tests.runtime.fake_live", "--source", "world?seed=7&size=160x120", "--headless"]
    node += ["--publish", f"zmq://{address}", "--wait-subscriber", "1", "--max-frames", "120", "--record", str(record)]
    environment = {**os.environ, "HENASY_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen(
        [str(subscriber), f"tcp://{address}", "--count", "8"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            subprocess.run(node, cwd=ROOT, env=environment, check=True, timeout=60, capture_output=True)
            output, errors = process.communicate(timeout=10)
        finally:
            process.kill()
    assert errors == "8 messages, 0 lost, 0 malformed\n"
    recorded = [wire.from_json_line(line) for line in record.read_bytes().splitlines()]
    tracks = [m for m in recorded if isinstance(m, messages.Tracks)]
    for line in output.splitlines():
        stamp, kind = line.split()[0], line.split()[2]
        assert kind in ("tracks", "caption")
        assert any(f"{m.stamp_ns / 1e9:.3f}" == stamp for m in tracks)


@pytest.mark.parametrize("arguments", [["--count"], ["--count", "x"], ["--help"], ["nonsense"]])
def test_a_mistake_ends_with_code_2(subscriber: Path, arguments: list[str]) -> None:
    done = subprocess.run([str(subscriber), *arguments], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert done.stderr
