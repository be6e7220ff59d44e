"""Outputs that fail: a port that is taken, a disk that is full, a reader that does not read."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import psutil
import pytest

from henasy_stream.client import subscribe
from henasy_stream.sinks.messages import Status
from tests.life.node import FAKE, ROOT

MEGABYTE = 1_000_000


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root, who can mount a small disk")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_port_that_is_taken(node, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"zmq://127.0.0.1:{other.getsockname()[1]}"
        refused = node("--source", "world?size=64x48", "--publish", address)
        assert refused.process.wait(60) == 2
    assert refused.said.count("\n") == 1
    assert "the address is in use" in refused.said
    assert not refused.record.exists()


def fill(file: IO[bytes]) -> None:
    with contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_disk_that_fills_up(node, camera, disk, port):
    address = f"zmq://127.0.0.1:{port}"
    video = disk / "a.mp4"
    running = node("--source", camera.url, "--publish", address, "--annotate", str(video), record=disk / "record.jsonl")
    running.wait_tracks(5)
    with (disk / "somebody's").open("wb", buffering=0) as other:
        while shutil.disk_usage(disk).free > 3_500_000:
            other.write(bytes(65536))
        running.wait(lambda: "the video ends" in running.said)
        fill(other)
    running.wait(lambda: "No space left" in running.said)
    with subscribe(address, latest=False, timeout_s=20) as messages:
        seen = [next(messages) for _ in range(30)]
        assert messages.gaps.total() == 0
        status = next(m for m in messages if isinstance(m, Status) and m.counters.messages_not_sent > 0)
    assert status.state == "RUNNING"
    assert {m.topic.rpartition("/")[2] for m in seen} >= {"tracks", "caption"}
    assert running.end() == 1
    assert running.said.count("No space left") == 1
    lines = running.record.read_bytes()
    assert lines.endswith(b"\n")
    assert len([json.loads(line) for line in lines.splitlines()]) >= 5
    capture = cv2.VideoCapture(str(video))
    assert capture.read()[0]
    capture.release()


@pytest.mark.parametrize("where", ["full disk", "closed pipe"])
def test_nobody_can_read_what_it_says(tmp_path, where):
    record = tmp_path / "record.jsonl"
    command = [
        sys.executable,
        "-m",
        FAKE,
        "--source",
        "world?size=64x48&seconds=2",
        "--headless",
        "--record",
        str(record),
    ]
    reader, writer = os.pipe()
    os.close(reader)
    with Path("/dev/full").open("wb") as full:
        said = {"full disk": full.fileno(), "closed pipe": writer}[where]
        code = subprocess.run(command, stderr=said, cwd=ROOT, timeout=60, check=False).returncode
    os.close(writer)
    assert code == 0
    messages = [json.loads(line) for line in record.read_text().splitlines()]
    assert messages[-1]["state"] == "STOPPING"
    assert messages[-1]["counters"]["frames_in"] == 60


def test_started_without_stderr_the_record_does_not_take_its_place(tmp_path):
    record = tmp_path / "record.jsonl"
    command = [
        sys.executable,
        "-m",
        FAKE,
        "--source",
        "world?size=64x48&realtime=1",
        "--headless",
        "--record",
        str(record),
    ]
    process = subprocess.Popen(["sh", "-c", 'exec "$@" 2>&-', "sh", *command], cwd=ROOT)
    try:
        deadline = time.monotonic() + 60
        while not record.exists() or not record.stat().st_size:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert os.readlink(f"/proc/{process.pid}/fd/2") == os.devnull  # noqa: PTH115
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.slow
def test_a_subscriber_that_stops_reading(node, camera, port, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (4, 720, 1280, 3)).astype(np.uint8)
    camera.picture, camera.fps = lambda index: noise[index % 4], 8.0
    address = f"zmq://127.0.0.1:{port}"
    running = node("--source", camera.url, "--publish", address, "--publish-frames")
    files = [tmp_path / name for name in ("stopped", "reading")]
    readers = [
        subprocess.Popen([sys.executable, "-m", "tests.life.subscriber", address, "frame", str(f)], cwd=ROOT)
        for f in files
    ]

    stopped = readers[0]

    def received(file: Path) -> list[int]:
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def memory() -> float:
        return psutil.Process(running.process.pid).memory_info().rss / MEGABYTE

    try:
        running.wait(lambda: min(len(received(f)) for f in files) > 3, timeout_s=60)
        stopped.send_signal(signal.SIGSTOP)
        running.wait_tracks(60, timeout_s=90)  # its buffers and its queue are full by now
        full, dropped, taken = memory(), running.counters["frames_dropped"], running.counters["frames_in"]
        running.wait_tracks(40, timeout_s=60)
        assert memory() - full < 15
        assert running.counters["frames_dropped"] - dropped < 0.5 * (running.counters["frames_in"] - taken)
        assert {state for state, _ in running.statuses} <= {"STARTING", "RUNNING"}
        before = len(received(files[0]))
        stopped.send_signal(signal.SIGCONT)
        latest = received(files[1])[-1]
        running.wait(lambda: received(files[0])[-1] > latest, timeout_s=60)
        assert len(received(files[0])) > before
        assert np.diff(received(files[0])).max() > 1
        assert np.diff(received(files[1])).max() == 1
        assert running.end() == 0
    finally:
        for reader in readers:
            reader.kill()
            reader.wait(10)
