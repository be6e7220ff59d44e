"""What was built, what was refused, and that a builder which accepts anything proves nothing."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from export.bundle import Written
from export.proof import CONTROL, build_all, holds, main, prove
from export.proof_rows import SKIPPED, keep
from henasy_stream.errors import UserError

BUILT = {"bundle": "demo", "graph": "window.onnx", "architecture": "SM86"}
REFUSED = {"bundle": CONTROL, "graph": "control.onnx", "error": "no operator Unique"}


def test_a_proof_needs_every_build_and_the_refusal() -> None:
    assert holds([BUILT, REFUSED])
    assert not holds([])
    assert not holds([{**BUILT, "error": "out of memory"}, REFUSED])
    assert not holds([BUILT, {"bundle": CONTROL, "graph": "control.onnx"}])


def test_a_missing_builder_is_a_visible_skip(
    bundles: dict[str, Written], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "rtx.json"
    asked = [str(bundles["window"].folder), "--rtx", sys.executable, "--json", str(kept)]
    assert main(asked) == 0
    assert "SKIPPED  tensorrt_rtx:" in capsys.readouterr().out
    (row,) = json.loads(kept.read_text())
    assert (row["tool"], "tensorrt_rtx" in row[SKIPPED]) == ("tensorrt_rtx", True)
    assert main([*asked, "--require"]) == 1


def test_ci_asks_for_every_tool() -> None:
    root = Path(__file__).resolve().parents[2]
    assert "step make proof-ci\n" in (root / ".ci" / "run").read_text()
    target = (root / "Makefile").read_text().split("\nproof-ci:", 1)[1].split("\n\n", 1)[0]
    proofs = [line for line in target.splitlines() if line.startswith("\t@$(PROOF_")]
    assert len(proofs) >= 2
    assert all("--require" in line for line in proofs)


def test_a_builder_that_dies_is_told(bundles: dict[str, Written]) -> None:
    graph = bundles["window"].folder / "window.onnx"
    with pytest.raises(UserError, match=r"did not build window.onnx .*pip install 'tensorrt_rtx"):
        list(build_all(Path(sys.executable), graph, ["SM86"]))


def test_a_folder_that_is_no_bundle_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="manifest"):
        prove([tmp_path], Path(sys.executable))
    assert main([str(tmp_path), "--rtx", str(tmp_path / "none")]) == 0
    assert "does not exist; make proof" in capsys.readouterr().out


@pytest.mark.skipif("HENASY_RTX_PYTHON" not in os.environ, reason="HENASY_RTX_PYTHON names no TensorRT for RTX")
def test_small_graphs_build_without_a_gpu(bundles: dict[str, Written]) -> None:
    folders = [bundles[kind].folder for kind in ("window", "causal")]
    found = prove(folders, Path(os.environ["HENASY_RTX_PYTHON"]), ["SM86"])
    assert holds(found)
    assert {row["graph"] for row in found} >= {"window.onnx", "causal.onnx", "text.onnx", "control.onnx"}


def test_rows_take_the_place_of_those_that_tell_of_the_same(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    other = {**BUILT, "architecture": "SM89"}
    keep(path, [{**BUILT, "seconds": 1}, other, {"tool": "tensorrt_rtx", SKIPPED: "not there"}])
    keep(path, [{**BUILT, "seconds": 2}])
    assert json.loads(path.read_text()) == [{**BUILT, "seconds": 2}, other]
