"""A recipe small enough to train in a test, and weights of LaViLa's layout."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from henasy_stream.config import HenasyConfig, TextConfig, VisionConfig
from henasy_stream.model.tokenizer import ClipTokenizer
from training.config import OptimConfig, Recipe, WorldData
from training.data.world_batches import WorldBatches
from training.data.world_pool import WorldPool, open_pool
from training.recipes.world_demo import RECIPE

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    model = replace(
        HenasyConfig.demo(),
        vision=VisionConfig(image_size=32, patch_size=8, num_frames=2, width=32, layers=1, heads=2, stem="conv"),
        text=TextConfig(width=16, layers=1, heads=2, context=24),
        vocabulary=RECIPE.model.vocabulary,
        embed_dim=16,
        entity_width=32,
        num_groups=6,
        num_entities=4,
        bootstrap_layers=1,
    )
    return replace(
        RECIPE,
        model=model,
        optim=OptimConfig(lr=1e-3, warmup=2, schedule="cosine", clip=1.0, average=0.9),
        data=WorldData(clips=24, val_clips=60, text_steps=3, tower_steps=2),
        batch=8,
        steps=6,
        log_every=1,
        eval_every=100,
        checkpoint_every=3,
    )


@pytest.fixture(scope="session")
def tiny_pool(tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> WorldPool:
    assert isinstance(tiny_recipe.data, WorldData)
    root = tmp_path_factory.mktemp("pools")
    return open_pool(root, tiny_recipe.model, split="train", clips=tiny_recipe.data.clips, seed=0)


@pytest.fixture(scope="session")
def tiny_data(tiny_recipe: Recipe, tiny_pool: WorldPool) -> WorldBatches:
    assert isinstance(tiny_recipe.data, WorldData)
    return WorldBatches(
        pool=tiny_pool, config=tiny_recipe.model, batch=tiny_recipe.batch, seed=0, data=tiny_recipe.data
    )


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
