"""Weights that start from the demo's go into the package without its text tower."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from henasy_stream.errors import UserError
from henasy_stream.loading import DEMO_WEIGHTS
from henasy_stream.model.checkpoints import load_weights, save_weights
from training.ship import ship


@pytest.fixture
def lender(tmp_path: Path) -> Path:
    path = tmp_path / "demo.safetensors"
    for suffix in (".safetensors", ".json"):
        path.with_suffix(suffix).write_bytes(DEMO_WEIGHTS.with_suffix(suffix).read_bytes())
    return path


def test_what_is_shipped_loads_as_what_was_trained(lender: Path, tmp_path: Path) -> None:
    state, config, metadata = load_weights(lender)
    state["towers.visual.cls_token"] += 1
    trained, out = tmp_path / "runs" / "weights.safetensors", tmp_path / "own.safetensors"
    save_weights(trained, state, config, **metadata)
    ship(trained, out, lender)
    shipped, _, told = load_weights(out)
    assert told == metadata
    assert shipped.keys() == state.keys()
    assert all(torch.equal(shipped[name], value.half().float()) for name, value in state.items() if value.ndim > 1)
    assert out.stat().st_size < 0.4 * lender.stat().st_size


def test_another_text_tower_is_refused(lender: Path, tmp_path: Path) -> None:
    state, config, _ = load_weights(lender)
    state["towers.text_projection"] += 1
    save_weights(tmp_path / "weights.safetensors", state, config)
    with pytest.raises(UserError, match=r"text tower .* \(towers\.text_projection\)"):
        ship(tmp_path / "weights.safetensors", tmp_path / "own.safetensors", lender)
    assert not (tmp_path / "own.safetensors").exists()
