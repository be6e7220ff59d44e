"""Pools and batches: shared, deterministic, and mirrored together with their boxes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from henasy_stream.errors import UserError
from training.config import Recipe, WorldData
from training.data.world_batches import WorldBatches
from training.data.world_pool import ABSENT, HAND_INDEX, UNNAMED, WorldPool, open_pool
from training.distributed import Ranks


def world(pool: WorldPool, recipe: Recipe, *, seed: int, data: WorldData) -> WorldBatches:
    return WorldBatches(pool=pool, config=recipe.model, batch=8, seed=seed, data=data)


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
    def batches(seed: int) -> WorldBatches:
        return world(tiny_pool, tiny_recipe, seed=seed, data=WorldData(jitter=0.2))

    late = batches(0)[7]
    assert torch.equal(late.video, batches(0)[7].video)
    assert not torch.equal(late.video, batches(1)[7].video)


def test_epoch_shows_every_clip_once(tiny_recipe: Recipe, tiny_pool: WorldPool) -> None:
    batches = world(tiny_pool, tiny_recipe, seed=0, data=WorldData(jitter=0.0))
    rows = [int(row) for step in range(batches.steps_per_epoch) for row in re.findall(r"\d+", batches[step].key)]
    assert sorted(rows) == list(range(len(tiny_pool)))


def test_mirrored_boxes_still_frame_their_objects(tiny_recipe: Recipe, tiny_pool: WorldPool) -> None:
    """A bright patch painted into every box must still fill the box after augmentation."""
    frames = np.zeros_like(tiny_pool.frames)
    size = frames.shape[2]
    boxes = np.full_like(tiny_pool.boxes, np.nan)
    boxes[:, :, 0] = np.array([1 / 8, 1 / 4, 1 / 2, 3 / 4], np.float32)
    frames[:, :, size // 4 : 3 * size // 4, size // 8 : size // 2] = 255
    pool = replace(tiny_pool, frames=frames, boxes=boxes)
    batch = replace(world(pool, tiny_recipe, seed=0, data=WorldData(jitter=0.0)), batch=24)[0]
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


def test_ranks_share_a_batch_as_one_process_sees_it(tiny_recipe: Recipe, tiny_pool: WorldPool) -> None:
    whole = world(tiny_pool, tiny_recipe, seed=0, data=WorldData())
    halves = [replace(whole, ranks=Ranks(rank=rank, size=2))[4] for rank in (0, 1)]
    assert torch.equal(torch.cat([half.video for half in halves]), whole[4].video)
    assert halves[0].texts + halves[1].texts == whole[4].texts


def test_hard_negatives_double_the_batch_with_the_next_clip_of_the_stream(tiny_recipe: Recipe, tmp_path: Path) -> None:
    cut = open_pool(tmp_path, tiny_recipe.model, split="train", clips=24, seed=0, cut=24)
    batches = replace(
        world(cut, tiny_recipe, seed=0, data=WorldData(clips=24, cut=24, hard_negatives=True, jitter=0.0)), batch=4
    )
    assert batches.steps_per_epoch == 3
    rows = [[int(row) for row in re.findall(r"\d+", batches[step].key)] for step in range(3)]
    assert sorted(row for drawn in rows for row in drawn) == list(range(24))
    for drawn in rows:
        assert [(row ^ 1) in drawn for row in drawn] == [True] * 8
    ranked = [replace(batches, ranks=Ranks(rank=rank, size=2))[0] for rank in (0, 1)]
    assert ranked[0].texts + ranked[1].texts == batches[0].texts


def test_hard_negatives_need_cut_clips(tiny_recipe: Recipe, tiny_pool: WorldPool) -> None:
    with pytest.raises(UserError, match=r"--data\.cut 24"):
        world(tiny_pool, tiny_recipe, seed=0, data=WorldData(clips=24, hard_negatives=True))
