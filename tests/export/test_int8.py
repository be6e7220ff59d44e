"""Whole numbers pass only where the scores do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import henasy_stream as hs
from export import int8
from export.bundle import write_bundle
from export.int8 import Scores, compare_scores
from export.random_weights import write_random
from henasy_stream.backends.onnxruntime_backend import OnnxRuntimeBackend
from henasy_stream.backends.torch_backend import read_network
from henasy_stream.errors import UserError
from henasy_stream.loading import DEMO_WEIGHTS
from henasy_stream.model.henasy import Henasy
from henasy_stream.types import NetworkOutput, UInt8Array
from tests.export.conftest import SMALL


def synthetic(folder: Path, attention: Literal["window", "causal"]) -> Path:
    path = folder / "weights" / "small.safetensors"
    vocabulary = replace(SMALL.vocabulary, synthetic=True)
    write_random(path, replace(SMALL, vocabulary=vocabulary, attention=attention), "small")
    return path


def told(loss: float) -> Callable[..., Scores]:
    after = {"noun": 0.9 - loss, "verb": 0.6}
    return lambda *_: Scores(before={"noun": 0.9, "verb": 0.5}, after=after, clip_ms=(2.0, 1.0))


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["window", "causal"])
def test_a_quantised_bundle_says_so_and_runs(
    attention: Literal["window", "causal"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "compare_scores", told(0.009))
    written = write_bundle(synthetic(tmp_path, attention), tmp_path / "out", precision="int8", steps=8)
    assert written.manifest.precision == "int8"
    assert written.scores is not None
    step, text = written.manifest.graphs[written.manifest.spec.attention], written.manifest.graphs["text"]
    assert "MatMulInteger" in step.operators
    assert "MatMulInteger" not in text.operators
    assert step.parity is not None
    assert 1e-5 < max(step.parity.worst.values()) < step.parity.tolerance == 2
    assert hs.load(written.folder).name == "onnxruntime-cpu"  # its golden step is its own


@pytest.mark.slow
def test_a_loss_is_refused_and_nothing_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "compare_scores", told(0.011))
    with pytest.raises(UserError, match=r"int8 loses 0\.011 of a score"):
        write_bundle(synthetic(tmp_path, "window"), tmp_path / "out", precision="int8", steps=8)
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]


def test_weights_that_have_no_scores_are_refused(weights: dict[str, Path], tmp_path: Path) -> None:
    for kind in ("window", "lavila"):
        with pytest.raises(UserError, match="int8 is tried by its scores on the synthetic world"):
            write_bundle(weights[kind], tmp_path / kind, precision="int8", steps=8)


@dataclass
class Blurred:
    """A backend that gives every picture the same place in the text space."""

    backend: OnnxRuntimeBackend

    def __getattr__(self, name: str) -> object:
        return getattr(self.backend, name)

    def run_window(self, clip: UInt8Array) -> NetworkOutput:
        found = self.backend.run_window(clip)
        return replace(found, video_embedding=np.ones_like(found.video_embedding))


def test_scores_tell_a_network_from_a_broken_one() -> None:
    model = read_network(DEMO_WEIGHTS)[0]
    assert isinstance(model, Henasy)
    backend = OnnxRuntimeBackend.from_bundle(DEMO_WEIGHTS.with_suffix(""))
    same = compare_scores(model, backend, backend, clips=60)
    assert same.loss == 0
    assert same.before["noun"] > 0.5
    assert not compare_scores(model, backend, Blurred(backend), clips=60).holds  # type: ignore[arg-type]
