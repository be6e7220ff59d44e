"""The tests that need ROS: skipped here, visibly, unless a ROS 2 with our two packages is sourced."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2] / "ros2_ws" / "src" / "henasy_stream" / "test"
MISSING = [name for name in ("rclpy", "launch_testing", "henasy_msgs") if importlib.util.find_spec(name) is None]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(bool(MISSING), reason=f"no ROS 2 is sourced ({', '.join(MISSING)}): {TESTS} was not run")
def test_the_node_in_a_ros_graph():
    done = subprocess.run([sys.executable, "-m", "pytest", str(TESTS)], cwd=TESTS.parent, env=os.environ, timeout=1800)
    assert done.returncode == 0


def test_without_ros_they_say_that_they_were_skipped():
    if not MISSING:
        pytest.skip("ROS 2 is sourced")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-c", os.devnull, "--rootdir", str(TESTS), str(TESTS)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=TESTS.parent,
    )
    assert "no ROS 2 here" in done.stdout
    assert "failed" not in done.stdout
    assert "error" not in done.stdout.lower()
