from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.life.network_camera import NetworkCamera
from tests.life.node import Node


@pytest.fixture
def camera() -> Iterator[NetworkCamera]:
    camera = NetworkCamera()
    yield camera
    camera.unplug()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Starts nodes, and leaves none behind."""
    started: list[Node] = []

    def start(*arguments: str, **options: object) -> Node:
        folder = tmp_path / f"node{len(started)}"
        folder.mkdir()
        started.append(Node(folder, *arguments, **options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for one in started:
        one.kill()
