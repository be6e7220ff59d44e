"""Small videos whose pictures tell their own number, as fixtures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from tests.training.videos import Frames, WriteVideo, numbers_of, write_frames


@pytest.fixture(scope="session")
def write_video() -> WriteVideo:
    return write_frames


@pytest.fixture(scope="session")
def numbers() -> Callable[[Frames], list[int]]:
    return numbers_of


@pytest.fixture(scope="session")
def full_decode() -> Callable[[Path], Frames]:
    def decode(path: Path) -> Frames:
        with av.open(str(path)) as container:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])

    return decode
