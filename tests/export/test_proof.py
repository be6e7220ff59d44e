"""What was built, what was refused, and that a builder which accepts anything proves nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from export.bundle import Written
from export.proof import CONTROL, holds, main, prove
from henasy_stream.errors import UserError

BUILT = {"bundle": "demo", "graph": "window.onnx", "architecture": "SM86"}
REFUSED = {"bundle": CONTROL, "graph": "control.onnx", "error": "no operator Unique"}


def test_a_proof_needs_every_build_and_the_refusal() -> None:
    assert holds([BUILT, REFUSED])
    assert not holds([])
    assert not holds([{**BUILT, "error": "out of memory"}, REFUSED])
    assert not holds([BUILT, {"bundle": CONTROL, "graph": "control.onnx"}])


def test_an_environment_without_the_builder_is_told(bundles: dict[str, Written]) -> None:
    with pytest.raises(UserError, match="pip install 'tensorrt_rtx"):
        prove([bundles["window"].folder], Path(sys.executable), ["SM86"])


def test_a_folder_that_is_no_bundle_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--rtx", sys.executable]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.skipif("HENASY_RTX_PYTHON" not in os.environ, reason="HENASY_RTX_PYTHON names no TensorRT for RTX")
def test_small_graphs_build_without_a_gpu(bundles: dict[str, Written]) -> None:
    folders = [bundles[kind].folder for kind in ("window", "causal")]
    found = prove(folders, Path(os.environ["HENASY_RTX_PYTHON"]), ["SM86"])
    assert holds(found)
    assert len(found) == 5
