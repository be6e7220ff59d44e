"""Small real videos of the synthetic world, with narrations and true boxes."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.preparation.example import write_example

SIZE = (64, 96)
FPS = 10.0


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`videos/world_<n>.mp4` (3 of 8 s), `narrations.csv`, `boxes.csv`; read only."""
    out = tmp_path_factory.mktemp("example")
    write_example(out, videos=3, seconds=8.0, size=SIZE, fps=FPS)
    return out


@pytest.fixture
def silent():
    """A `Stage` that shows nothing."""
    return lambda name, total: lambda amount: None
