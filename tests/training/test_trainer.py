"""A run: it learns, goes on exactly where it stopped, and refuses what cannot work."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks._peak import peak_bytes
from henasy_stream.backends.torch_backend import TorchBackend
from training.config import Recipe, WorldData
from training.data.world_batches import WorldBatches
from training.losses import PAPER_LOSSES
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
    assert whole.average
    for name, value in whole.averaged().items():
        assert torch.equal(value, second.averaged()[name]), name


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
    seen = {"loss", "grad_norm", "iou_chosen", "iou_best", "dead_slots", "background_share"}
    speed = {"seconds", "lr", "clips_per_s", "waiting", "memory_gb"}
    assert set(lines[0]) == {"step", *seen, *speed, *tiny_recipe.losses}
    assert all(0 <= line["iou_chosen"] <= line["iou_best"] <= 1 for line in lines)
    assert all(line["clips_per_s"] > 0 for line in lines)


def test_unknown_loss_is_named(tiny_recipe: Recipe, tiny_data: WorldBatches, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ego_typo"):
        Trainer(replace(tiny_recipe, losses={"ego_typo": 1.0}), tiny_data, tmp_path)


@pytest.mark.parametrize("losses", ["demo", "paper"])
@pytest.mark.parametrize("broken", ["text_space.1.weight", "entity_encoder.entity_tokens"])
def test_loss_that_is_not_finite_stops_the_run(
    losses: str, broken: str, tiny_recipe: Recipe, tiny_data: WorldBatches, tmp_path: Path
) -> None:
    weights = tiny_recipe.losses if losses == "demo" else dict.fromkeys(PAPER_LOSSES, 1.0)
    trainer = Trainer(replace(tiny_recipe, losses=weights), tiny_data, tmp_path)
    trainer.prepare()
    with torch.no_grad():
        trainer.model.get_parameter(broken).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"step 0.*world clips \d"):
        trainer.step()


def test_gradient_that_is_not_finite_changes_nothing(
    tiny_recipe: Recipe, tiny_data: WorldBatches, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = Trainer(tiny_recipe, tiny_data, tmp_path)
    trainer.prepare()
    before = {name: value.clone() for name, value in trainer.averaged().items()}
    weight = trainer.model.get_parameter("text_space.1.weight")
    hook = weight.register_hook(lambda grad: grad * float("inf"))
    assert trainer.step()["grad_norm"] != pytest.approx(0)
    assert all(torch.equal(value, before[name]) for name, value in trainer.averaged().items())
    assert re.search(r"step 1: the gradient is not finite.*world clips \d", caplog.text)
    hook.remove()
    trainer.step()
    assert not all(torch.equal(value, before[name]) for name, value in trainer.averaged().items())


def test_bfloat16_stays_near_float32(tiny_recipe: Recipe, tiny_data: WorldBatches, tmp_path: Path) -> None:
    full, half = (
        Trainer(replace(tiny_recipe, precision=precision), tiny_data, tmp_path).step()
        for precision in ("float32", "bfloat16")
    )
    for name in tiny_recipe.losses:
        assert half[name] == pytest.approx(full[name], rel=0.1), name
    assert half["grad_norm"] == pytest.approx(full["grad_norm"], rel=0.2)
    assert half["loss"] != full["loss"]


def gradients(trainer: Trainer) -> dict[str, torch.Tensor]:
    trainer.step()
    return {name: value.grad for name, value in trainer.model.named_parameters() if value.grad is not None}


def test_recomputed_blocks_give_the_same_gradients_from_less_memory(
    tiny_recipe: Recipe, tiny_data: WorldBatches, tmp_path: Path
) -> None:
    deep = replace(
        tiny_recipe,
        model=replace(tiny_recipe.model, vision=replace(tiny_recipe.model.vision, layers=6), grouping_layers=3),
        data=WorldData(),
    )
    data = replace(tiny_data, config=deep.model, data=WorldData())
    plain, again = (Trainer(replace(deep, recompute=on), data, tmp_path) for on in (False, True))
    kept = [peak_bytes(trainer.step) for trainer in (plain, again)]
    assert kept[1] < 0.7 * kept[0]
    expected, found = gradients(plain), gradients(again)
    assert expected.keys() == found.keys()
    for name, grad in expected.items():
        assert torch.equal(found[name], grad), name


def test_frozen_tower_keeps_nothing_for_the_backward_pass(
    tiny_recipe: Recipe, tiny_data: WorldBatches, tmp_path: Path
) -> None:
    trainer = Trainer(replace(tiny_recipe, freeze=("video", "text")), tiny_data, tmp_path)
    trainer.prepare()
    kept: list[torch.Tensor] = []
    towers = trainer.model.towers

    def keep(value: torch.Tensor) -> torch.Tensor:
        kept.append(value)
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        towers.visual(tiny_data[0].video)
        trainer.texts(tiny_data[0].texts)
    assert not kept
    assert not any(name.startswith(("towers.visual", "towers.text")) for name in trainer.average)
    before = {name: value.clone() for name, value in towers.state_dict().items()}
    trainer.step()
    assert all(torch.equal(value, before[name]) for name, value in towers.state_dict().items())
    assert trainer.averaged().keys() == trainer.model.state_dict().keys()


def test_without_an_average_the_last_weights_count(
    tiny_recipe: Recipe, tiny_data: WorldBatches, tmp_path: Path
) -> None:
    trainer = Trainer(replace(tiny_recipe, optim=replace(tiny_recipe.optim, average=0.0)), tiny_data, tmp_path)
    trainer.step()
    assert not trainer.average
    for name, value in trainer.averaged_model().state_dict().items():
        assert torch.equal(value, trainer.model.state_dict()[name]), name


def test_grounding_that_fails_in_silence_is_said(
    tiny_recipe: Recipe,
    tiny_data: WorldBatches,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("training.trainer.grounding", lambda _: {"iou_chosen": 0.1, "iou_best": 0.3})
    Trainer(replace(tiny_recipe, steps=4, eval_every=2, log_every=1), tiny_data, tmp_path).run(quiet)
    assert caplog.text.count("words don't find their things") == 2
