"""`--dry-run`: its numbers are those of a real network and a real backward pass."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from henasy_stream.model.henasy import Henasy
from training.command import pretrain_main
from training.config import EgoClipData, Recipe
from training.dry_run import Cost, cost_of
from training.network import build, freeze, observe


@pytest.fixture(scope="module")
def small(tiny_recipe: Recipe) -> Recipe:
    return replace(tiny_recipe, batch=6, data=EgoClipData(), freeze=("video", "text"))


def kept_for_backward(recipe: Recipe, clips: int) -> int:
    """Bytes that a real forward pass leaves behind, parameters apart."""
    model = build(recipe)
    freeze(model, recipe.freeze)
    known = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage
        return tensor

    size = recipe.model.vision.image_size
    video = torch.randn(clips, recipe.model.vision.num_frames, 3, size, size)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        seen = observe(model, video)
        assert seen.video.requires_grad
        return sum(storage.nbytes() for storage in kept.values())


@pytest.fixture(scope="module")
def cost(small: Recipe) -> Cost:
    return cost_of(small)


def test_parameters_are_those_of_the_network(small: Recipe, cost: Cost) -> None:
    with torch.device("meta"):
        model = Henasy(small.model)
    freeze(model, small.freeze)
    assert cost.parameters == sum(p.numel() for p in model.parameters())
    assert cost.trained == sum(p.numel() for p in model.parameters() if p.requires_grad)
    by_name = {part.name: part for part in cost.parts}
    assert by_name["video tower"].trained == by_name["text tower"].trained == 0


@pytest.mark.parametrize("recompute", [False, True])
def test_memory_of_clips_is_what_a_real_pass_keeps(small: Recipe, cost: Cost, recompute: bool) -> None:
    memory = cost.memory_recomputed if recompute else cost.memory
    real = kept_for_backward(replace(small, recompute=recompute), 5)
    assert memory.casts + 5 * memory.clip == pytest.approx(real, rel=0.02)
    assert cost.memory_recomputed.clip < cost.memory.clip


def test_clips_of_a_gpu_count_ranks_and_hard_negatives(small: Recipe, cost: Cost) -> None:
    assert cost.memory.clips == 12
    shared = cost_of(replace(small, data=EgoClipData(negatives=False), freeze=("text",)), ranks=3)
    assert shared.memory.clips == 2
    assert shared.trained > cost.trained
    assert shared.memory.clip > cost.memory.clip


def test_flops_follow_arithmetic(small: Recipe, cost: Cost) -> None:
    # the linear into the text space: E entities, D to J, two FLOPs for a multiply and an add
    last = next(part for part in cost.parts if part.name == "into the text space")
    assert last.flops == 2 * small.model.num_entities * small.model.entity_width * small.model.embed_dim


def test_the_papers_size_is_told_without_data_or_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    argv = ["--recipe", "henasy_base_egoclip", "--dry-run", "--init", "nowhere.pth", "--out", str(tmp_path / "x")]
    assert pretrain_main(argv) == 0
    told = capsys.readouterr().out
    assert not (tmp_path / "x").exists()
    rows = {line.split("│")[1].strip(): re.findall(r"[\d.]+", line) for line in told.splitlines() if "│" in line}
    assert rows["video tower"][:3] == ["114.4", "0.0", "114.4"]
    # 12 blocks over 785 tokens: time attention, space attention and MLP, 16 D² each; what attends comes on top
    linear = 12 * 785 * 16 * 768 * 768 * 2 / 1e9
    assert linear < float(rows["video tower"][3]) < 1.1 * linear
    assert "│ all                 │    238.4 M │  60.7 M │ 177.7 M │" in told
    assert "291.0 M" in told
    assert "599.0 G" in told
    assert "42.00 GB" in told
    assert "Which one is open" in told
