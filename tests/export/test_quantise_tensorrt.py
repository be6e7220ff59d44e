"""Eight bits for TensorRT: refused where scores lose, where weights know no world, and without modelopt."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from export.bundle import Written
from export.int8 import Scores
from export.quantise_tensorrt import main
from henasy_stream.backends.bundle import MANIFEST, open_bundle
from henasy_stream.loading import DEMO_WEIGHTS

DEMO = DEMO_WEIGHTS.with_name("demo")


def test_mistakes_are_one_line(bundles: dict[str, Written], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, there = ["--out", str(tmp_path / "out")], ["--out", str(tmp_path)]
    small = str(bundles["window"].folder)
    for asked, said in (
        ([small, "--weights", "demo", *out], "is of window, --weights are others"),
        ([str(tmp_path), "--weights", "demo", *out], "manifest"),
        ([str(DEMO), "--weights", "demo", *there], "exists; choose another --out"),
        ([str(DEMO), "--weights", "demo", "--modelopt", sys.executable, *out], "has no nvidia-modelopt"),
        ([str(DEMO), "--weights", "demo", "--modelopt", str(tmp_path / "none"), *out], "make modelopt"),
    ):
        assert main(asked) == 2
        told = capsys.readouterr().err
        assert said in told
        assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.iterdir())


def test_only_float32_is_quantised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = shutil.copytree(DEMO, tmp_path / "half")
    text = (half / MANIFEST).read_text()
    assert '"precision": "fp32"' in text
    (half / MANIFEST).write_text(text.replace('"precision": "fp32"', '"precision": "fp16"'))
    assert main([str(half), "--weights", "demo", "--out", str(tmp_path / "out")]) == 2
    assert "is fp16; give one that was exported in fp32" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(
    "HENASY_MODELOPT_PYTHON" not in os.environ, reason="HENASY_MODELOPT_PYTHON names no nvidia-modelopt"
)
@pytest.mark.parametrize("loss", [0.0, 0.02])
def test_scores_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: float) -> None:
    scores = Scores(before={"noun": 0.9}, after={"noun": 0.9 - loss}, clip_ms=(1, 1))
    monkeypatch.setattr("export.quantise_tensorrt.compare_scores", lambda *_, **__: scores)
    monkeypatch.setattr("export.quantise_tensorrt.CALIBRATION_CLIPS", 2)
    asked = [str(DEMO), "--weights", "demo", "--modelopt", os.environ["HENASY_MODELOPT_PYTHON"]]
    assert main([*asked, "--out", str(tmp_path / "out")]) == int(loss > 0.01)
    assert (tmp_path / "out").exists() == (loss < 0.01)
    if loss < 0.01:
        manifest = open_bundle(tmp_path / "out").manifest
        assert manifest.precision == "int8-qdq"
        assert manifest.graphs["window"].operators["QuantizeLinear"] > 50
