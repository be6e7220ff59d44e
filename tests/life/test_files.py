"""Recorded streams, which end and whose clocks jump."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import pytest

from tests.life.network_camera import cup
from tests.life.node import no_hole, resets


def film(path: Path, frames: int = 60, fps: float = 20.0, codec: str = "mp4v") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, (320, 240))
    assert writer.isOpened()
    for index in range(frames):
        writer.write(cv2.cvtColor(cup()(index), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of the folder's files."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """No noise."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_stream_that_ends(node, tmp_path, served):
    film(tmp_path / "a.avi")
    running = node("--source", f"{served}/a.avi")
    assert running.process.wait(60) == 0
    assert "the source ended" in running.said
    assert running.counters["frames_in"] == 60
    assert running.messages("caption")[-1]["final"]
    assert running.statuses[-1] == ("STOPPING", "the source ended")


def test_a_clock_that_jumps_back_and_forth(node, tmp_path):
    """Recordings in MPEG-TS put end to end, as cameras leave them: every one begins at its own time."""
    early, late = film(tmp_path / "early.ts"), film(tmp_path / "late.ts", frames=200)
    cut = late.read_bytes()
    whole = tmp_path / "whole.ts"
    whole.write_bytes(early.read_bytes() + cut[len(cut) * 3 // 4 // 188 * 188 :] + early.read_bytes())
    running = node("--source", str(whole))
    assert running.process.wait(60) == 0
    tracks = running.messages("tracks")
    assert all(b["stamp_ns"] > a["stamp_ns"] for a, b in pairwise(tracks))
    assert any("jumps back" in reset for reset in resets(tracks))
    assert any("gap of" in reset for reset in resets(tracks))
    assert running.counters["frames_in"] > 120
    assert no_hole(tracks)
