"""The bundle that ships is the demo's weights, and what the node says does not depend on the backend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import henasy_stream as hs
from export.parity import pictures
from henasy_stream.backends.bundle import open_bundle
from henasy_stream.loading import DEMO_WEIGHTS, Model

FOLDER = DEMO_WEIGHTS.with_suffix("")
LARGEST = 15e6


@pytest.fixture(scope="module")
def onnx() -> Model:
    model = hs.load("demo")
    assert model.name == "onnxruntime-cpu"
    return model


@pytest.fixture(scope="module")
def torch_() -> Model:
    model = hs.load("demo", "torch")
    assert model.name.startswith("torch-")
    return model


def test_the_bundle_is_made_of_the_weights_that_ship(onnx: Model, torch_: Model) -> None:
    assert onnx.spec == torch_.spec, (
        "export again: python export/export.py --weights demo --out henasy_stream/weights/demo"
    )
    frames = pictures(onnx.spec.image_size, 9, seed=11)
    for start in range(5):
        clip = np.stack(frames[start : start + onnx.spec.num_frames])
        found, wanted = onnx.run_window(clip), torch_.run_window(clip)
        assert found.entity_probability is not None
        assert wanted.entity_probability is not None
        np.testing.assert_allclose(found.video_embedding, wanted.video_embedding, atol=1e-4)
        np.testing.assert_allclose(found.entity_probability, wanted.entity_probability, atol=1e-4)
    texts = [*onnx.spec.nouns, "something that the world has never heard of"]
    np.testing.assert_allclose(onnx.embed_texts(texts), torch_.embed_texts(texts), atol=1e-5)


def test_the_bundle_is_small(onnx: Model) -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= LARGEST
    manifest = open_bundle(FOLDER).manifest
    assert manifest.graphs.keys() == {"window", "text"}
    assert max(value for graph in manifest.graphs.values() for value in graph.parity.values()) <= 1e-4


def test_the_node_says_the_same_with_either_backend(onnx: Model, torch_: Model, tmp_path: Path) -> None:
    told = []
    for model in (onnx, torch_):
        with hs.open_source("world?seed=4&size=160x120&fps=2&seconds=20") as source:
            told.append(
                [
                    (p.stamp_ns, p.caption and p.caption.text, [(t.id, t.label, t.state, t.query) for t in p.tracks])
                    for p in hs.stream(model, source, queries=["spoon"])
                ]
            )
    assert told[0] == told[1]
    assert any(tracks for _, _, tracks in told[0])
