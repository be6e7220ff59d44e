"""A mistake on a command line is one line that names it, and exit code 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_no_command_has_a_parser_of_its_own() -> None:
    for folder in ("henasy_stream", "training", "export", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            own = "argparse.ArgumentParser(" in path.read_text("utf-8")
            # What runs on another machine by itself has no package to import from.
            assert not own or path.name in ("_arguments.py", "verify_on_gpu.py"), path


@pytest.mark.parametrize(
    ("script", "arguments", "told"),
    [
        ("export/export.py", [], "--out"),
        ("export/export.py", ["--out", "x", "--precision", "fp8"], "--precision"),
        ("export/export.py", ["--out", "x", "--steps", "2"], "--steps 2"),
        ("export/export.py", ["--out", "x", "--weights", "nonsense"], "nonsense"),
        ("export/proof.py", ["somewhere"], "--rtx"),
        ("export/proof_openvino.py", ["somewhere"], "--weights"),
        ("export/proof_torch_tensorrt.py", ["--weights", "demo", "--precision", "int8"], "--precision"),
        ("export/quantise_tensorrt.py", ["somewhere", "--mode", "int4"], "--mode"),
        ("export/random_weights.py", ["huge", "--out", "x"], "huge"),
        ("training/ship.py", ["weights.safetensors"], "name"),
        ("training/prepare.py", ["chnks"], "chunks"),
        ("training/evaluate.py", ["wrld"], "world"),
        ("training/card.py", ["--x"], "--x"),
        ("training/ablation.py", ["--jobs", "many"], "--jobs"),
        ("training/fit_relations.py", ["--streams", "0"], "--streams"),
        ("training/calibrate.py", ["--streams", "many"], "--streams"),
    ],
)
def test_a_mistake_is_one_line(script: str, arguments: list[str], told: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert told in done.stderr
    assert list(tmp_path.iterdir()) == []
