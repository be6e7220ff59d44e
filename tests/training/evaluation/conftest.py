"""Tiny weights of both kinds, and the command line as a user meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from henasy_stream.model import Henasy
from henasy_stream.model.checkpoints import save_weights
from tests.training.evaluation.planted import TINY
from training.evaluation.command import evaluate_main


@pytest.fixture(scope="session")
def henasy_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("henasy") / "tiny.safetensors"
    save_weights(path, Henasy(TINY).state_dict(), TINY, model_id="tiny")
    return path


@pytest.fixture
def evaluate(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs `evaluate.py …` to its end and gives back what it wrote to --json."""

    def run(*arguments: str | Path) -> dict[str, Any]:
        out = tmp_path / "result.json"
        assert evaluate_main([*map(str, arguments), "--device", "cpu", "--json", str(out)]) == 0
        return json.loads(out.read_text())

    return run


@pytest.fixture
def refuse(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs `evaluate.py …`, which must end with exit code 2 and one line."""

    def run(*arguments: str | Path) -> str:
        capsys.readouterr()
        assert evaluate_main([*map(str, arguments)]) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("evaluate: ")]
        assert len(lines) == 1
        return lines[0]

    return run
