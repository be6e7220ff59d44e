"""Teach a video tower from scratch what things are, from single frames, before the entities learn where they are.

The paper's global encoder is pretrained (LaViLa) and frozen.  Frames of one clip look alike, so a step over single
frames of many clips shows a new tower four times as many things for the same work.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from henasy_stream.model.henasy import Henasy
from training.losses_extra import pooled_noun_nce
from training.rasters import box_masks

BATCH = 64
LEARNING_RATE = 2e-3
WARMUP = 50


def pretrain_tower(
    model: Henasy,
    frames: Callable[[npt.NDArray[np.int64], np.random.Generator], tuple[Tensor, Tensor, Tensor]],
    clips: int,
    dictionary: Tensor,
    *,
    steps: int,
    seed: int,
) -> float:
    """The patches inside a named box must choose its noun (`pooled_noun_nce`); returns the last loss.

    Args:
        model: its video tower and the projection of that are trained.
        frames: gives an augmented frame of each of some clips, its boxes and their names.
        clips: how many there are.
        dictionary: (V, D) embedded nouns, fixed.
        steps: updates of BATCH frames.
        seed: draws the frames.
    """
    towers = model.towers
    parameters = [*towers.visual.parameters(), towers.image_projection]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.05)
    rng = np.random.default_rng((seed, 1))
    loss = torch.zeros(())
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (step + 1) / WARMUP) * (1 - 0.9 * step / steps)
        rows = rng.choice(clips, min(BATCH, clips), replace=False)
        video, boxes, named = frames(rows, rng)
        patches = towers.visual.norm(model.final_patches(video)) @ towers.image_projection
        side = model.config.vision.grid
        loss = _naming(patches.view(len(rows), 1, side, side, -1), boxes, named, dictionary)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    return loss.item()


def _naming(patches: Tensor, boxes: Tensor, named: Tensor, dictionary: Tensor) -> Tensor:
    clip, frame, box = (boxes.isfinite().all(-1) & (named >= 0)[:, None]).nonzero(as_tuple=True)
    side = patches.shape[2]
    raster = box_masks(boxes * side, side, side)
    return pooled_noun_nce(patches, raster, clip, frame, box, named[clip, box], F.normalize(dictionary, dim=-1))
