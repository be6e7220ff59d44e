"""What can be verified of the verification without a GPU: CPU forms, reasons, wrong results, crashes, mistakes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from henasy_stream.backends.bundle import GOLDEN, MANIFEST, open_bundle, sum_of

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "henasy_stream" / "weights" / "demo"
QUICK = ("eager fp32", "CUDA graph fp16", "TensorRT", "ONNX Runtime CUDA", "ONNX Runtime CPU")
CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGILL)"


def run(folder: Path, *arguments: str, stubs: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} | ({} if stubs is None else {"PYTHONPATH": str(stubs)})
    command = [sys.executable, str(ROOT / "export" / "verify_on_gpu.py"), "--steps", "3", "--out", "found"]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, cwd=folder, env=environment, timeout=300
    )


def on_cpu(folder: Path, *arguments: str, stubs: Path | None = None) -> tuple[int, dict[str, dict[str, Any]]]:
    done = run(folder, "--device", "cpu", *arguments, stubs=stubs)
    report = json.loads((folder / "found.json").read_text())
    assert report["versions"]["torch"] == torch.__version__
    return done.returncode, {one["form"]: one for one in report["forms"]}


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["demo", "demo-causal"])
def test_what_runs_has_numbers_and_what_does_not_its_reason(weights: str, tmp_path: Path) -> None:
    code, forms = on_cpu(tmp_path, "--weights", weights, "--forms", *QUICK)
    assert code == 0
    for form in ("eager fp32", "ONNX Runtime CPU"):
        assert 0 < forms[form]["step_ms"]["median"] <= forms[form]["step_ms"]["p99"]
        assert max(forms[form]["difference"].values()) < 1e-3
    assert forms["CUDA graph fp16"]["reason"] == "on GPUs only"
    assert "reason" in forms["TensorRT"]
    assert "reason" in forms["ONNX Runtime CUDA"]
    table = (tmp_path / "found.md").read_text()
    assert [line.split(" | ")[0][2:] for line in table.splitlines()[6:]] == list(QUICK)
    assert "| CUDA graph fp16 | did not run: on GPUs only |" in table


@pytest.mark.slow
def test_a_form_that_computes_something_else_fails_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(DEMO, folder)
    with np.load(folder / GOLDEN) as arrays:
        changed = {name: array + 0.5 if name == "out.entity_probability" else array for name, array in arrays.items()}
    np.savez_compressed(folder / GOLDEN, **changed)
    manifest = open_bundle(DEMO).manifest
    files = manifest.files | {GOLDEN: sum_of(folder / GOLDEN)}
    (folder / MANIFEST).write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, files=files)))
    code, forms = on_cpu(tmp_path, "--weights", str(folder), "--forms", "eager fp32", "ONNX Runtime CPU")
    assert code == 1
    assert "without weights" in forms["eager fp32"]["reason"]
    assert "computes something else than the weights" in forms["ONNX Runtime CPU"]["reason"]


@pytest.mark.slow
def test_a_form_that_crashes_does_not_end_the_others(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text(CRASH)
    code, forms = on_cpu(tmp_path, "--forms", "ONNX Runtime CPU", "eager fp32", stubs=tmp_path)
    assert code == 0
    assert forms["ONNX Runtime CPU"]["reason"] == "crashed with SIGILL"
    assert "step_ms" in forms["eager fp32"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--device", "cpu", "--forms", "abacus"), "there are eager fp32"),
        (("--device", "cpu", "--steps", "0"), "at least one"),
        (("--device", "tpu"), "invalid choice"),
        pytest.param((), "--device cpu", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
