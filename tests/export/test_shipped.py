"""The bundles that ship are the demo's weights, and what the node says does not depend on the backend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import henasy_stream as hs
from export.parity import pictures
from henasy_stream.backends.bundle import open_bundle
from henasy_stream.loading import DEMO_WEIGHTS, Model

FOLDERS = {name: DEMO_WEIGHTS.with_name(name) for name in ("demo", "demo-causal")}
LARGEST = 15e6
AGAIN = "export again: python export/export.py --weights demo --out henasy_stream/weights/demo (docs/export.md)"
LIVE = """
import sys
from henasy_stream.live import main
code = main(sys.argv[1:])
assert "torch" not in sys.modules
sys.exit(code)
"""


@pytest.fixture(scope="module", params=FOLDERS)
def models(request: pytest.FixtureRequest) -> tuple[Model, Model]:
    """The same weights with ONNX Runtime and with PyTorch."""
    onnx, torch_ = hs.load(request.param), hs.load(request.param, "torch")
    assert onnx.name == "onnxruntime-cpu"
    assert torch_.name.startswith("torch-")
    return onnx, torch_


def test_the_bundles_are_made_of_the_weights_that_ship(models: tuple[Model, Model]) -> None:
    onnx, torch_ = models
    assert onnx.spec == torch_.spec, AGAIN
    frames, width = pictures(onnx.spec.image_size, 9, seed=11), onnx.spec.num_frames
    states = [model.initial_state() if onnx.spec.attention == "causal" else None for model in models]
    for start in range(5):
        found = []
        for index, model in enumerate(models):
            state = states[index]
            if state is None:
                found.append(model.run_window(np.stack(frames[start : start + width])))
            else:
                states[index], output = model.step(state, frames[start])
                found.append(output)
        one, other = found
        assert one.entity_probability is not None
        assert other.entity_probability is not None
        np.testing.assert_allclose(one.video_embedding, other.video_embedding, atol=1e-4, err_msg=AGAIN)
        np.testing.assert_allclose(one.entity_probability, other.entity_probability, atol=1e-4, err_msg=AGAIN)
    texts = [*onnx.spec.nouns, *onnx.spec.phrases, "something that the world has never heard of"]
    np.testing.assert_allclose(onnx.embed_texts(texts), torch_.embed_texts(texts), atol=1e-5)


def test_the_bundles_are_small_and_share_a_text_tower() -> None:
    assert sum(path.stat().st_size for folder in FOLDERS.values() for path in folder.iterdir()) <= LARGEST
    for name, folder in FOLDERS.items():
        bundle = open_bundle(folder)
        step = "causal" if name == "demo-causal" else "window"
        assert bundle.manifest.graphs.keys() == {step, "text"}
        assert bundle.path("text").samefile(FOLDERS["demo"] / "text.onnx")
        assert "dirty" not in bundle.manifest.commit, AGAIN
        for graph in bundle.manifest.graphs.values():
            assert graph.parity is not None
            assert max(graph.parity.worst.values()) <= 1e-4


def test_the_node_says_the_same_with_either_backend(models: tuple[Model, Model]) -> None:
    told = []
    for model in models:
        with hs.open_source("world?seed=4&size=160x120&fps=2&seconds=20") as source:
            told.append(
                [
                    (p.stamp_ns, p.caption and p.caption.text, [(t.id, t.label, t.state, t.query) for t in p.tracks])
                    for p in hs.stream(model, source, queries=["spoon"])
                ]
            )
    assert told[0] == told[1]
    assert any(tracks for _, _, tracks in told[0])


def test_the_causal_demo_runs_live_without_torch(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    arguments = ["--weights", "demo-causal", "--source", "world", "--headless", "--max-frames", "60"]
    done = subprocess.run(
        [sys.executable, "-c", LIVE, *arguments, "--queries", "cup", "--record", str(record)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert '"topic":"henasy/1/tracks"' in record.read_text()
