"""`ablation.py` from the outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from training.ablations.command import ablation_main
from training.options import ROOT

TINY = (
    *("--data.clips", "60", "--data.cut", "60", "--data.val-clips", "60", "--batch", "4", "--steps", "2"),
    *("--model.vision.width", "32", "--model.vision.layers", "1", "--model.vision.image-size", "32"),
    *("--model.vision.num-frames", "2", "--model.entity-width", "32", "--model.embed-dim", "16"),
    *("--model.text.width", "16", "--model.text.layers", "1", "--model.bootstrap-layers", "1"),
)


def test_unknown_row_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert ablation_main(["--rows", "ego", "nothing"]) == 2
    error = capsys.readouterr().err
    assert "'nothing'" in error
    assert "no-bootstrapping" in error


def test_list_says_what_rows_switch(capsys: pytest.CaptureFixture[str]) -> None:
    assert ablation_main(["--list", "--table", "demo"]) == 0
    assert "--data.no-labelled-boxes" in capsys.readouterr().out


def test_scores_of_other_settings_are_not_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = {"steps": 1, "batch": 16, "losses": {"ego": 1.0}, "seed": 0}
    (tmp_path / "ego-s0.json").write_text(json.dumps({"about": about, "heldout": {}}))
    arguments = ["--rows", "ego", "--seeds", "0", "--out", str(tmp_path / "out"), "--results", str(tmp_path)]
    assert ablation_main(arguments) == 2
    assert "steps 1, not" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_row_from_towers_to_scores_and_not_again(tmp_path: Path) -> None:
    command = [
        *(sys.executable, str(ROOT / "training" / "ablation.py"), "--rows", "ego", "--seeds", "3", "--jobs", "1"),
        *("--out", str(tmp_path / "out"), "--results", str(tmp_path / "results"), "--pools", str(tmp_path / "pools")),
        *("--picture-steps", "1", "--clip-steps", "1", "--clips", "250", *TINY),
    ]
    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    found = json.loads((tmp_path / "results" / "ego-s3.json").read_text())
    assert found["about"]["losses"] == {"ego": 1.0}
    assert 0 <= found["heldout"]["inter"] <= 1
    towers = json.loads((tmp_path / "results" / "towers-s3.json").read_text())
    assert towers["about"]["seed"] == 3
    recipe = json.loads((tmp_path / "out" / "runs" / "ego-s3" / "recipe.json").read_text())
    assert recipe["init"] == str(tmp_path / "out" / "towers-s3.safetensors")
    assert recipe["freeze"] == ["video", "text"]
    (tmp_path / "out" / "towers-s3.safetensors").unlink()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "1 were there, 0 ended" in again.stderr
