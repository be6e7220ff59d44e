"""henasy-stream from pip and henasy-stream-ros from colcon, whichever comes first on PYTHONPATH."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 here: rclpy cannot be imported")

import henasy_stream_ros
from probe import Process

import henasy_stream


def folders() -> tuple[str, str]:
    """Where the two are installed: the pip package's, the ROS package's."""
    pip = importlib.metadata.distribution("henasy-stream").locate_file("")
    return str(Path(str(pip))), str(Path(henasy_stream_ros.__file__).parents[1])


def path(first: str, second: str) -> str:
    others = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p not in (first, second)]
    return os.pathsep.join([first, second, *others])


@pytest.fixture(params=["pip first", "ROS first"])
def order(request: pytest.FixtureRequest) -> str:
    pip, ros = folders()
    assert pip != ros
    return path(pip, ros) if request.param == "pip first" else path(ros, pip)


def test_versions_and_entry_points_are_both_found(order):
    code = (
        "import importlib.metadata as m, henasy_stream, henasy_stream_ros;"
        "print(m.version('henasy-stream'), m.version('henasy-stream-ros'));"
        "print([e.value for e in m.distribution('henasy-stream').entry_points]);"
        "print([e.value for e in m.distribution('henasy-stream-ros').entry_points])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": order},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    versions, pip, ros = done.stdout.splitlines()
    assert versions.split()[0] == henasy_stream.__version__
    assert "henasy_stream.__main__:main" in pip
    assert "henasy_stream_ros.main:main" in ros


@pytest.mark.parametrize(
    "command",
    [
        ["ros2", "run", "henasy_stream", "node", "--ros-args", "-p", "autostart:=true"],
        ["ros2", "launch", "henasy_stream", "node.launch.py", "image:=/nowhere"],
    ],
    ids=["run", "launch"],
)
def test_the_node_starts(order: str, command: list[str], request: Any) -> None:
    process = Process(command, PYTHONPATH=order)
    try:
        process.says("active: /")
        assert process.interrupt() == 0
    finally:
        process.kill()
    assert "Traceback" not in process.output
