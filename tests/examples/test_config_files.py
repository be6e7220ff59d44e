from __future__ import annotations

from pathlib import Path

import pytest

from henasy_stream.live import parse

FILES = sorted((Path(__file__).parents[2] / "examples/config").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_options_is_one_that_the_node_takes(path: Path) -> None:
    options = parse(["--config", str(path)])
    assert options.uri
    assert options.headless
    assert options.camera_pixels is None or options.camera == 0
    assert all(options.query_texts)


def test_there_are_some() -> None:
    assert len(FILES) >= 3
