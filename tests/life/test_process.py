"""What happens to the process and its clocks."""

from __future__ import annotations

import bisect
import signal
import time
from itertools import pairwise
from typing import Any

import pytest

from tests.life.network_camera import NetworkCamera, cup
from tests.life.node import ids, no_hole, resets

TRAVEL = 640 - 640 // 4 - 20


def lag(camera: NetworkCamera, message: dict[str, Any]) -> int:
    """Pictures between the one that a message tells of, by where its cup is, and the newest when it was published."""
    newest = bisect.bisect(camera.painted_ns, message["published_ns"])
    x0, _, x1, _ = next(t for t in message["tracks"] if t["state"] == "tracked")["box_xyxy"]
    shown = round((x0 + x1) / 2) - 10 - 640 // 8
    return (newest - shown + 60) % TRAVEL - 60


@pytest.mark.slow
def test_stopped_for_ten_seconds(node, camera):
    """The sender goes on meanwhile: ten seconds of pictures wait in the socket, and none of them may pass for new."""
    camera.picture = cup(640, 640, speed=1)
    running = node("--source", camera.url)
    running.wait_tracks(10)
    assert max(abs(lag(camera, m)) for m in running.messages("tracks")[-3:]) < 50
    running.process.send_signal(signal.SIGSTOP)
    time.sleep(10)
    awake_ns = time.time_ns()
    running.process.send_signal(signal.SIGCONT)
    running.wait(lambda: sum(m["published_ns"] > awake_ns for m in running.messages("tracks")) > 10)
    after = [m for m in running.messages("tracks") if m["published_ns"] > awake_ns + 200_000_000]
    shown = [lag(camera, m) for m in after if any(t["state"] == "tracked" for t in m["tracks"])]
    assert shown
    assert max(map(abs, shown)) < 50
    assert len(resets(running.messages("tracks"))) == 1
    running.wait_state("RUNNING")
    assert not any("hangs" in reason for _, reason in running.statuses)
    assert running.counters["frames_in"] >= running.counters["frames_dropped"]
    assert no_hole(running.messages("tracks"))
    assert no_hole(running.messages("status"))
    assert running.end() == 0


def test_the_wall_clock_steps(node, camera, tmp_path):
    clock = tmp_path / "clock"
    clock.write_text("0")
    running = node("--source", camera.url, module="tests.life.stepping_clock", environment={"CLOCK": str(clock)})
    running.wait_tracks(5)
    for step in ("3600", "-3600"):
        clock.write_text(step)
        running.wait_tracks(6)
        before = len(running.messages("status"))
        running.wait(lambda before=before: len(running.messages("status")) >= before + 2)
    tracks = running.messages("tracks")
    hours = [round((m["published_ns"] - time.time_ns()) / 3.6e12) for m in tracks]
    assert [hours[0], hours[-1]] == [0, -1]
    assert 1 in hours
    assert all(b["stamp_ns"] > a["stamp_ns"] for a, b in pairwise(tracks))
    assert resets(tracks) == []
    assert len(ids(tracks)) == 1
    assert no_hole(tracks)
    assert {state for state, _ in running.statuses} <= {"STARTING", "RUNNING"}
    assert running.messages("status")[-1]["latency_ms"]["age"]["p99"] < 60_000
    assert running.end() == 0
