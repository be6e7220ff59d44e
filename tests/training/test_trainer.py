"""A run: it learns, goes on exactly where it stopped, and refuses what cannot work."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from henasy_stream.backends.torch_backend import TorchBackend
from training.config import Recipe
from training.data.world_batches import WorldBatches
from training.trainer import Trainer


def quiet(*_: object) -> None:
    return None


def test_resumed_run_equals_an_unbroken_one(tiny_recipe: Recipe, tiny_data: WorldBatches, tmp_path: Path) -> None:
    whole = Trainer(tiny_recipe, tiny_data, tmp_path / "whole")
    (tmp_path / "whole").mkdir()
    whole.run(quiet)

    broken = tmp_path / "broken"
    broken.mkdir()
    first = Trainer(tiny_recipe, tiny_data, broken)
    for _ in range(4):
        first.step()
        if first.done == 3:
            first.save()  # the fourth step is lost, as by a kill
    torch.manual_seed(123)
    second = Trainer(tiny_recipe, tiny_data, broken)
    assert second.resume()
    assert second.done == 3
    second.run(quiet)

    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    for name, value in whole.average.items():
        assert torch.equal(value, second.average[name]), name


def test_fitting_one_batch_lowers_the_loss(tiny_recipe: Recipe, tiny_data: WorldBatches, tmp_path: Path) -> None:
    recipe = replace(tiny_recipe, batch=24, steps=60, optim=replace(tiny_recipe.optim, lr=3e-3))
    trainer = Trainer(recipe, replace(tiny_data, batch=24), tmp_path)
    losses = [trainer.step()["loss"] for _ in range(40)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_seed_decides_the_run(tiny_recipe: Recipe, tiny_data: WorldBatches, tmp_path: Path) -> None:
    first, again = (Trainer(tiny_recipe, tiny_data, tmp_path).step()["loss"] for _ in range(2))
    other = Trainer(replace(tiny_recipe, seed=1), tiny_data, tmp_path).step()["loss"]
    assert first == again
    assert first != other


def test_written_weights_run_in_the_backend(tiny_recipe: Recipe, tiny_data: WorldBatches, tmp_path: Path) -> None:
    trainer = Trainer(replace(tiny_recipe, steps=1), tiny_data, tmp_path)
    backend = TorchBackend.from_file(trainer.run(quiet), device="cpu")
    assert backend.spec.background == "background"
    assert backend.spec.synthetic
    out = backend.run_window(tiny_data.pool.frames[0])
    assert out.entity_probability is not None
    assert out.entity_probability.shape == (2, 8, 8, 4)


def test_log_holds_every_loss(tiny_recipe: Recipe, tiny_data: WorldBatches, tmp_path: Path) -> None:
    Trainer(replace(tiny_recipe, steps=2), tiny_data, tmp_path).run(quiet)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert set(tiny_recipe.losses) <= set(lines[0])


def test_unknown_loss_is_named(tiny_recipe: Recipe, tiny_data: WorldBatches, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ego_typo"):
        Trainer(replace(tiny_recipe, losses={"ego_typo": 1.0}), tiny_data, tmp_path)


def test_loss_that_is_not_finite_stops_the_run(tiny_recipe: Recipe, tiny_data: WorldBatches, tmp_path: Path) -> None:
    trainer = Trainer(tiny_recipe, tiny_data, tmp_path)
    with torch.no_grad():
        next(trainer.model.text_space.parameters()).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"step 0.*world clips \d"):
        trainer.step()
