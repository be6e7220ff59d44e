"""Mistakes and faults of an export: one line that names the thing, exit code 2, and nothing half-written."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from henasy_stream.backends.torch_backend import read_network

ROOT = Path(__file__).parents[2]
LIMIT = 20_000
"""Bytes that a file may have, as on a disk that is full."""


PROGRAM = """
import resource, sys
from pathlib import Path
import torch
from export.graphs import Form
from export.parts import write_program

class Step(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(100, 100)

    def forward(self, x):
        return {"y": self.layer(x)}

given = {"x": torch.zeros(1, 100)}
form = Form(name="step", module=Step(), inputs=given, sizes={})
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_program(form, Path(sys.argv[1]), given, 1e-5)
except OSError as error:
    print(error.strerror)
"""


def export(*arguments: object, full: bool = False) -> subprocess.CompletedProcess[str]:
    """The command as a user types it."""

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))

    command = [sys.executable, str(ROOT / "export" / "export.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, preexec_fn=fill if full else None)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("opset", [17, 21])
def test_an_opset_that_nobody_takes(weights: dict[str, Path], tmp_path: Path, opset: int) -> None:
    done = export("--weights", weights["window"], "--opset", opset, "--out", tmp_path / "out")
    line = last_line(done)
    assert line == f"export: opset {opset}: TensorRT 10 knows 20 and PyTorch writes 18 at least"
    assert list(tmp_path.iterdir()) == []


def test_weights_of_another_config(weights: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "window.safetensors"
    path.write_bytes(weights["window"].read_bytes())
    about = json.loads(weights["window"].with_suffix(".json").read_text())
    about["config"]["entity_width"] = 24
    path.with_suffix(".json").write_text(json.dumps(about))
    line = last_line(export("--weights", path, "--out", tmp_path / "out"))
    assert line.startswith("export: ")
    assert str(path) in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["/sys/henasy/bundle", "file/bundle"])
def test_a_folder_that_cannot_be_written(weights: dict[str, Path], tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("no folder")
    folder = tmp_path / place  # an absolute place stays as it is
    line = last_line(export("--weights", weights["window"], "--out", folder))
    assert line.startswith(f"export: cannot write {folder}: ")
    assert line.endswith("; choose another --out")


def test_a_file_where_the_bundle_shall_be(weights: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("years of work")
    line = last_line(export("--weights", weights["window"], "--out", tmp_path / "out"))
    assert "holds something else than a bundle" in line
    assert (tmp_path / "out").read_text() == "years of work"


@pytest.mark.slow
def test_no_space_left(weights: dict[str, Path], tmp_path: Path) -> None:
    line = last_line(export("--weights", weights["lavila"], "--steps", 8, "--out", tmp_path / "out", full=True))
    assert line.startswith(f"export: cannot write {tmp_path / 'out'}: File too large")
    assert line.endswith("; free some space or choose another --out")
    assert list(tmp_path.iterdir()) == []


def test_no_space_left_for_a_program(tmp_path: Path) -> None:
    """PyTorch ends the whole process where it writes such a file itself."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "step.pt2")], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "File too large\n"


def test_weights_of_the_tests_are_readable(weights: dict[str, Path]) -> None:
    """What the tests above change is all that is wrong with them."""
    assert read_network(weights["window"])[2] == "window"
