"""Tests that need a sourced ROS 2; without one they are skipped, and say so."""

from __future__ import annotations

import importlib.util
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NEEDED = ("rclpy", "launch_testing", "ament_index_python", "henasy_msgs", "vision_msgs", "henasy_stream")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

if MISSING:
    collect_ignore_glob = ["test_launch*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what cannot run, visibly."""
    if MISSING:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"no ROS 2 here: {', '.join(MISSING)} cannot be imported"))


@pytest.fixture(scope="session", autouse=True)
def _own_domain(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Other nodes on this machine are not met, nor those of the network; caches and logs are the tests' own."""
    folder: Path = tmp_path_factory.mktemp("ros")
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.Random().randint(1, 100)))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ["ROS_LOG_DIR"] = str(folder / "log")
    os.environ["HENASY_CACHE"] = str(folder / "cache")
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def probe() -> Iterator[Any]:
    """A node that hears and publishes."""
    from probe import Probe

    made = Probe()
    made.hear("/diagnostics")
    yield made
    made.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Any]]:
    """Starts the node under test, with parameters."""
    from probe import node

    started: list[Any] = []

    def begin(*parameters: str, **how: Any) -> Any:
        started.append(node(*parameters, **how))
        return started[-1]

    yield begin
    for process in started:
        process.kill()


@pytest.fixture
def camera(probe: Any) -> Iterator[Any]:
    """Publishes the world on /image."""
    from probe import Camera

    made = Camera(probe)
    yield made
    made.close()
