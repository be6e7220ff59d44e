"""A stream over RTSP, H.264 in RTP, from somebody else's server in a process of its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.life.network_camera import cup
from tests.life.node import ROOT, ids, no_hole, resets

pytest.importorskip("aio_rtsp_toolkit", reason="the RTSP server is not installed")


def film(path: Path, seconds: int = 20, fps: int = 20) -> None:
    """An H.264 file of the cup on its way."""
    import av

    paint = cup()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.options = {"tune": "zerolatency", "g": "10", "preset": "ultrafast"}
        for index in range(seconds * fps):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(paint(index), format="rgb24")))
        container.mux(stream.encode())


class RtspCamera:
    """A server that can be killed, stopped and started again."""

    def __init__(self, folder: Path) -> None:
        film(folder / "cup.mp4")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._folder = folder
        self.url = f"rtsp://somebody:secret@127.0.0.1:{self.port}/cup.mp4?play_count=0"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.life.rtsp_server", str(self._folder), str(self.port)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None
            time.sleep(0.05)
        raise AssertionError("the RTSP server does not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def rtsp(tmp_path: Path) -> Iterator[RtspCamera]:
    folder = tmp_path / "films"
    folder.mkdir()
    camera = RtspCamera(folder)
    yield camera
    camera.kill()


@pytest.mark.slow
def test_a_stream_that_stops_dies_and_comes_back(node, rtsp):
    running = node("--source", rtsp.url)
    before = running.wait_tracks(8)
    assert resets(before) == []
    assert len(ids(before)) == 1
    rtsp.process.send_signal(signal.SIGSTOP)
    running.wait_state("SOURCE_LOST", "no picture from the stream")
    rtsp.process.send_signal(signal.SIGCONT)
    running.wait_state("RUNNING")
    running.wait_tracks(3)
    rtsp.kill()
    running.wait_state("SOURCE_LOST")
    running.wait_state("SOURCE_LOST", "no stream there")
    rtsp.start()
    running.wait_state("RUNNING")
    running.wait_tracks(3)
    tracks = running.messages("tracks")
    assert resets(tracks) == ["stream reconnected"] * 2
    assert all(b["stamp_ns"] > a["stamp_ns"] for a, b in pairwise(tracks))
    assert no_hole(tracks)
    assert running.end() == 0
    assert "secret" not in running.said + running.record.read_text()
