"""Recordings: gaps, loops, and a clock that goes back."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 here: rclpy cannot be imported")
pytest.importorskip("henasy_msgs", reason="henasy_msgs is not built or not sourced")

from builtin_interfaces.msg import Time
from henasy_msgs.msg import StreamInfo
from probe import NODE, Camera, more, ns, seen, until
from rosgraph_msgs.msg import Clock


def test_gaps_and_loops_of_a_recording(probe, camera, start):
    """Stamps as `ros2 bag play` sends them: a gap, then back to the beginning."""
    tracks = probe.hear(f"{NODE}/tracks")
    start()
    more(tracks, 3)
    camera.offset_ns = 20 * 10**9
    reset = until(lambda: next((m.info.reset for m in tracks if m.info.reset), None), "a reset")
    assert reset.startswith("gap of")
    tracks.clear()
    camera.offset_ns = -100 * 10**9
    reset = until(lambda: next((m.info.reset for m in tracks if m.info.reset), None), "a reset")
    assert reset.startswith("stamps went back by")
    more(tracks, 3)


def test_simulated_time_that_goes_back(probe, start):
    clock = probe.node.create_publisher(Clock, "/clock", 10)
    now = [5_000 * 10**9]

    def by_clock(message: Any) -> Any:
        now[0] += 66_000_000
        stamp = Time(sec=now[0] // 10**9, nanosec=now[0] % 10**9)
        clock.publish(Clock(clock=stamp))
        message.header.stamp = stamp
        return message

    camera = Camera(probe, alter=by_clock)
    tracks = probe.hear(f"{NODE}/tracks")
    start("use_sim_time:=true")
    assert seen(tracks).info.clock == StreamInfo.CLOCK_MEDIA
    more(tracks, 3)
    now[0] = 100 * 10**9
    reset = until(lambda: next((m.info.reset for m in tracks if m.info.reset), None), "a reset")
    assert "went back by" in reset
    more(tracks, 3)
    assert ns(tracks[-1].header.stamp) < 200 * 10**9
    camera.close()
