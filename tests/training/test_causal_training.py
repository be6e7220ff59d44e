"""Causal networks are trained by the same trainer, on clips that begin before their window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from henasy_stream.backends.torch_backend import TorchBackend
from henasy_stream.errors import UserError
from henasy_stream.model.causal import CausalHenasy
from henasy_stream.model.checkpoints import save_weights
from henasy_stream.model.henasy import Henasy
from henasy_stream.sources.world import cut_clips, render_clip
from training.config import Recipe, WorldData
from training.data.world_batches import WorldBatches
from training.data.world_pool import open_pool
from training.dry_run import cost_of
from training.network import build, observe
from training.options import load_recipe
from training.trainer import Trainer

LEAD = 2


@pytest.fixture(scope="module")
def recipe(tiny_recipe: Recipe) -> Recipe:
    assert isinstance(tiny_recipe.data, WorldData)
    return replace(
        tiny_recipe,
        model=replace(tiny_recipe.model, attention="causal"),
        data=replace(tiny_recipe.data, lead=LEAD),
        losses={**tiny_recipe.losses, "slot_consistency": 0.1},
    )


@pytest.fixture(scope="module")
def data(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> WorldBatches:
    assert isinstance(recipe.data, WorldData)
    root = tmp_path_factory.mktemp("pools")
    pool = open_pool(root, recipe.model, split="train", clips=recipe.data.clips, seed=0, lead=LEAD)
    assert pool.frames.shape[1] == recipe.model.vision.num_frames + LEAD
    return WorldBatches(pool=pool, config=recipe.model, batch=recipe.batch, seed=0, data=recipe.data)


def test_frames_before_a_window_change_nothing_in_it() -> None:
    plain, longer = (render_clip(5, size=(32, 32), num_frames=3, lead=lead) for lead in (0, 2))
    assert longer.times_s[2:] == pytest.approx(plain.times_s)
    assert np.diff(longer.times_s) == pytest.approx(np.diff(longer.times_s)[0])
    assert np.array_equal(longer.frames[2:], plain.frames)
    assert np.array_equal(longer.boxes[2:], plain.boxes, equal_nan=True)


def test_frames_before_a_cut_are_those_of_the_stream() -> None:
    plain, longer = (
        {c.narration + str(c.times_s[-1]): c for c in
         cut_clips(5, "train", seconds=30, size=(32, 32), num_frames=3, span_s=1.0, lead=lead)}
        for lead in (0, 2)
    )  # fmt: skip
    assert longer.keys() & plain.keys()
    for key in longer.keys() & plain.keys():
        assert np.array_equal(longer[key].frames[2:], plain[key].frames)
        assert longer[key].times_s[0] == pytest.approx(plain[key].times_s[0] - 1.0)


def test_clips_begin_at_any_frame_of_the_lead(data: WorldBatches, recipe: Recipe) -> None:
    lengths = {data[step].video.shape[1] for step in range(30)}
    window = recipe.model.vision.num_frames
    assert lengths == {window, window + 1, window + 2}
    assert all(data[step].boxes.shape[1] == data[step].video.shape[1] for step in range(3))


def test_training_learns_the_gate_and_the_lags_and_its_weights_load(
    recipe: Recipe, data: WorldBatches, tmp_path: Path
) -> None:
    trainer = Trainer(recipe, data, tmp_path)
    assert isinstance(trainer.model, CausalHenasy)
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    told = [trainer.step() for _ in range(3)]
    assert all(np.isfinite(list(values.values())).all() and "slot_consistency" in values for values in told)
    for name in ("carry.gate", "carry.norm.weight", *(name for name in before if name.startswith("lags."))):
        assert not torch.equal(trainer.model.get_parameter(name), before[name]), name
    backend = TorchBackend.from_file(trainer.write_weights(), device="cpu")
    assert backend.spec.num_frames == recipe.model.vision.num_frames
    assert isinstance(trainer.averaged_model(), CausalHenasy)


def test_a_stopped_run_goes_on_as_if_it_had_not(recipe: Recipe, data: WorldBatches, tmp_path: Path) -> None:
    whole = Trainer(recipe, data, tmp_path / "whole")
    for _ in range(4):
        whole.step()
    first = Trainer(recipe, data, tmp_path / "parts")
    (tmp_path / "parts").mkdir()
    for _ in range(2):
        first.step()
    first.save()
    second = Trainer(recipe, data, tmp_path / "parts")
    assert second.resume()
    for _ in range(2):
        second.step()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


def test_starts_where_a_window_network_ended(recipe: Recipe, tiny_recipe: Recipe, tmp_path: Path) -> None:
    torch.manual_seed(1)
    window = Henasy(tiny_recipe.model)
    path = tmp_path / "window.safetensors"
    save_weights(path, window.state_dict(), tiny_recipe.model, model_id="window")
    model = build(replace(recipe, init=str(path)))
    assert isinstance(model, CausalHenasy)
    own, theirs = model.state_dict(), window.state_dict()
    place = "towers.visual.pos_embed"
    for name in own.keys() & theirs.keys() - {place}:
        assert torch.equal(own[name], theirs[name]), name
    added = own[place] - theirs[place]
    assert not added[:, 0].any()
    assert torch.allclose(
        added[0, 1:], theirs["towers.visual.temporal_embed"].mean(1).expand_as(added[0, 1:]), atol=1e-6
    )
    assert not any(value.any() for name, value in own.items() if name.startswith("lags."))


def test_starts_from_lavilas_towers(lavila_checkpoint: Path) -> None:
    from henasy_stream.config import HenasyConfig
    from henasy_stream.model.lavila import load_lavila

    towers = load_lavila(lavila_checkpoint)
    config = HenasyConfig(
        vision=towers.visual.config,
        text=towers.text.config,
        embed_dim=towers.image_projection.shape[1],
        entity_width=32,
        entity_heads=2,
        num_groups=4,
        num_entities=3,
        bootstrap_layers=1,
        grouping_layers=1,
        refine_layers=1,
        decoder_layers=1,
        attention="causal",
    )
    recipe = replace(load_recipe("world_demo"), model=config, init=str(lavila_checkpoint))
    model = build(recipe)
    assert torch.equal(model.towers.text.token_embedding.weight, towers.text.token_embedding.weight)
    assert torch.equal(model.towers.visual.blocks[0].mlp.fc1.weight, towers.visual.blocks[0].mlp.fc1.weight)


def test_losses_read_the_last_frame_and_masks_of_all(recipe: Recipe, data: WorldBatches) -> None:
    model = build(recipe).eval()
    video = data[0].video
    seen, out = observe(model, video), model.unrolled(video)  # type: ignore[operator]
    assert seen.masks.shape[:2] == video.shape[:2]
    assert torch.allclose(seen.entities, torch.nn.functional.normalize(out.entities[:, -1], dim=-1))
    assert seen.before is not None
    assert torch.allclose(seen.before, torch.nn.functional.normalize(out.entities[:, -2], dim=-1))


def test_what_causal_networks_cannot_do_is_refused_in_a_line(recipe: Recipe) -> None:
    with pytest.raises(UserError, match="causal"):
        build(replace(recipe, recompute=True))
    with pytest.raises(UserError, match="causal"):
        cost_of(recipe)
