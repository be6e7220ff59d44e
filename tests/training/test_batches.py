"""Pools and batches: shared, deterministic, and mirrored together with their boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from training.batches import Batches
from training.config import DataConfig, Recipe
from training.data.world_pool import ABSENT, HAND_INDEX, UNNAMED, WorldPool, open_pool


def test_second_opening_reads_the_same_pool(tiny_recipe: Recipe, tmp_path: Path) -> None:
    told: list[int] = []
    first = open_pool(tmp_path, tiny_recipe.model, split="train", clips=5, seed=3, progress=told.append)
    again = open_pool(tmp_path, tiny_recipe.model, split="train", clips=5, seed=3, progress=told.append)
    assert sum(told) == 5
    assert np.array_equal(first.frames, again.frames)
    assert first.narrations == again.narrations
    assert not list(tmp_path.glob("*.building"))


def test_only_narrator_and_detector_name_objects(tiny_pool: WorldPool) -> None:
    named = tiny_pool.named(labelled_boxes=False)
    assert np.array_equal(tiny_pool.named(labelled_boxes=True), tiny_pool.noun)
    for i in range(len(tiny_pool)):
        for column, name in enumerate(named[i]):
            true = tiny_pool.noun[i, column]
            if column == tiny_pool.target[i]:
                assert name == true == tiny_pool.noun_class[i]
            else:
                assert name == (true if true in (HAND_INDEX, ABSENT) else UNNAMED)


def test_batch_depends_on_seed_and_step_alone(tiny_recipe: Recipe, tiny_pool: WorldPool) -> None:
    def batches(seed: int) -> Batches:
        return Batches(tiny_pool, tiny_recipe.model, batch=8, seed=seed, data=DataConfig(jitter=0.2))

    late = batches(0)[7]
    assert torch.equal(late.video, batches(0)[7].video)
    assert not torch.equal(late.video, batches(1)[7].video)


def test_epoch_shows_every_clip_once(tiny_recipe: Recipe, tiny_pool: WorldPool) -> None:
    batches = Batches(tiny_pool, tiny_recipe.model, batch=8, seed=0, data=DataConfig(jitter=0.0))
    rows = torch.cat([batches[step].rows for step in range(batches.per_epoch)])
    assert sorted(rows.tolist()) == list(range(len(tiny_pool)))


def test_mirrored_boxes_still_frame_their_objects(tiny_recipe: Recipe, tiny_pool: WorldPool) -> None:
    """A bright patch painted into every box must still fill the box after augmentation."""
    frames = np.zeros_like(tiny_pool.frames)
    size = frames.shape[2]
    boxes = np.full_like(tiny_pool.boxes, np.nan)
    boxes[:, :, 0] = np.array([1 / 8, 1 / 4, 1 / 2, 3 / 4], np.float32)
    frames[:, :, size // 4 : 3 * size // 4, size // 8 : size // 2] = 255
    from dataclasses import replace

    pool = replace(tiny_pool, frames=frames, boxes=boxes)
    batch = Batches(pool, tiny_recipe.model, batch=24, seed=0, data=DataConfig(jitter=0.0))[0]
    x0 = batch.boxes[:, 0, 0, 0]
    assert len(set(x0.tolist())) == 2  # some mirrored, some not
    for video, box in zip(batch.video, batch.boxes[:, 0, 0], strict=True):
        left, top, right, bottom = (box * size).round().int().tolist()
        inside = video[0, 0, top:bottom, left:right]
        assert (inside == inside.max()).all()
        assert (video[0, 0] == inside.max()).sum() == inside.numel()


def test_pool_holds_as_many_cuts_as_asked_for(tiny_recipe: Recipe, tmp_path: Path) -> None:
    plain = open_pool(tmp_path, tiny_recipe.model, split="train", clips=102, seed=0)
    mixed = open_pool(tmp_path, tiny_recipe.model, split="train", clips=102, seed=0, cut=2)
    assert np.array_equal(plain.frames[:100], mixed.frames[:100])
    assert not np.array_equal(plain.frames[100:], mixed.frames[100:])
    assert (mixed.noun[100:] == HAND_INDEX).sum(1).tolist() == [2, 2]  # a stream has both hands
