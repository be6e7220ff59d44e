"""Tiny weights of both kinds, and the command line as a user meets it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from henasy_stream.model import Henasy
from henasy_stream.model.checkpoints import save_weights
from henasy_stream.model.tokenizer import ClipTokenizer
from tests.training.evaluation.planted import TINY
from training.evaluation.command import evaluate_main

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


@pytest.fixture(scope="session")
def lavila_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LaViLa's layout as its trainer writes it, tiny, with the real vocabulary."""
    names = ("lavila_timesformer_tiny", "lavila_text_tiny")
    golden = {k: v for name in names for k, v in load_file(GOLDEN / f"{name}.safetensors").items()}
    state = {name: tensor for name, tensor in golden.items() if name.startswith("module.")}
    embedding, size = state["module.token_embedding.weight"], ClipTokenizer.end_id + 1
    state["module.token_embedding.weight"] = embedding.repeat(-(-size // len(embedding)), 1)[:size].clone()
    path = tmp_path_factory.mktemp("lavila") / "tiny.pth"
    torch.save({"epoch": 5, "state_dict": state, "args": argparse.Namespace(model="tiny")}, path)
    return path


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
