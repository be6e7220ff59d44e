"""The network at its worst: numbers that are none, and a second for a window."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.life.network_camera import cup
from tests.life.node import REAL, no_hole, resets

WEIGHTS = Path(__file__).parents[2] / "henasy_stream/weights/demo.safetensors"
FIRST = "towers.visual.patch_embed.stages.0.0.0.weight"


def grey(index: int) -> np.ndarray:
    """All but nothing after normalisation."""
    return np.random.default_rng(index).integers(126, 130, (240, 320, 3)).astype(np.uint8)


def weights(folder: Path, value: float) -> Path:
    """The demo's weights with one value all over the first convolution.

    With 1e19 the squares of sums over any picture but a grey one overflow float32, and the norm makes NaN of them.
    """
    from safetensors.numpy import load_file, save_file

    tensors = load_file(WEIGHTS)
    tensors[FIRST] = np.full(tensors[FIRST].shape, value, np.float32)
    path = folder / "spoilt.safetensors"
    save_file(tensors, path)
    shutil.copy(WEIGHTS.with_suffix(".json"), path.with_suffix(".json"))
    return path


@pytest.mark.slow
def test_what_is_no_number_is_never_told(node, camera, tmp_path):
    camera.picture = grey
    running = node("--source", camera.url, "--weights", str(weights(tmp_path, 1e19)), module=REAL)
    running.wait_tracks(3, timeout_s=90)
    assert running.counters["frames_failed"] == 0
    camera.picture = cup()
    running.wait(lambda: running.counters["frames_failed"] > 3)
    running.wait_state("STALLED", "not finite")
    told = len(running.messages("tracks"))
    camera.picture = grey
    running.wait_state("RUNNING")
    after = running.wait_tracks(3)
    assert any("not finite" in reset for reset in resets(running.messages("tracks")[told:]))
    assert running.said.count("not finite") == 1
    assert after
    assert running.end() == 0
    assert no_hole(running.messages("tracks"))
    text = running.record.read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    for line in text.splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} was told"))


@pytest.mark.slow
def test_weights_that_are_no_numbers_end_with_code_1(node, tmp_path):
    path = weights(tmp_path, np.nan)
    running = node("--source", "world?size=160x120&seconds=2", "--weights", str(path), module=REAL)
    assert running.process.wait(90) == 1
    assert "not finite" in running.said
    assert "Traceback" not in running.said
    assert running.messages("tracks") == []
    assert running.counters["frames_failed"] == 60


@pytest.mark.slow
def test_a_network_twenty_times_slower_than_the_camera(node, camera):
    running = node("--source", camera.url, module="tests.life.slow_live")
    tracks = running.wait_tracks(6, timeout_s=60)
    counters, latency = running.counters, running.messages("status")[-1]["latency_ms"]
    assert counters["frames_dropped"] > 0.4 * counters["frames_in"]
    assert latency["network"]["p50"] >= 1000
    assert latency["age"]["p95"] <= 2 * latency["network"]["p95"] + 200
    assert "STALLED" not in {state for state, _ in running.statuses}
    assert resets(tracks) == []
    assert "too long for neighbouring windows to share a frame" in running.said
    assert running.end() == 0
