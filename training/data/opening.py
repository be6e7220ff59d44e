"""The data that a recipe names, opened for one rank."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console

from training.config import Recipe
from training.data.world_batches import WorldBatches
from training.data.world_pool import WorldPool, open_pool
from training.distributed import Ranks, first_rank_first
from training.evaluation.world import score_world
from training.progress import progress_bar


def open_data(recipe: Recipe, *, pools: Path, ranks: Ranks, device: torch.device, console: Console) -> WorldBatches:
    """Opens the data of `recipe.data`, rendering world clips that are not there yet.

    Args:
        recipe: of the run.
        pools: folder of rendered clips.
        ranks: whose part of each batch is read.
        device: where batches go.
        console: told of what takes long.
    """
    with first_rank_first(ranks):
        pool = _pool(recipe, pools, "train", recipe.data.clips, console)
        held_out = _pool(recipe, pools, "validation", recipe.data.val_clips, console)
    return WorldBatches(
        pool=pool,
        config=recipe.model,
        batch=recipe.batch,
        seed=recipe.seed,
        data=recipe.data,
        ranks=ranks,
        device=device,
        judge=lambda model: score_world(model, held_out, seed=0).headline(),
    )


def _pool(recipe: Recipe, root: Path, split: str, clips: int, console: Console) -> WorldPool:
    with progress_bar(console) as progress:
        task = progress.add_task(f"clips ({split})", total=clips, note="")
        pool = open_pool(
            root,
            recipe.model,
            split=split,
            clips=clips,
            seed=recipe.data.seed,
            cut=recipe.data.cut * clips // recipe.data.clips,
            progress=lambda n: progress.advance(task, n),
        )
        progress.update(task, completed=clips)
    return pool
