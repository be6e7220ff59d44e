"""The network as a run uses it: started from weights, some towers frozen, and what the losses read of a pass.

Shapes: N clips, T frames, S picture size, h mask grid, k patch grid, E entities, J joint width, V words.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from henasy_stream.model.checkpoints import load_strictly, load_weights
from henasy_stream.model.henasy import Henasy
from henasy_stream.model.lavila import load_lavila
from training.config import Recipe, Tower


class Observed(NamedTuple):
    """Of one pass over clips; embeddings are L2-normalised float32.

    video: (N, J).  entities: (N, E, J).  masks: (N, T, h, h, E) probability of the entity given the patch.
    tower: (N, J) the global encoder's own video embedding.  patches: (N, T, k, k, J) its patch tokens in that space.
    """

    video: Tensor
    entities: Tensor
    masks: Tensor
    tower: Tensor
    patches: Tensor


def observe(model: Henasy, video: Tensor) -> Observed:
    """Run the network on (N, T, 3, S, S)."""
    out = model(video)
    towers = model.towers
    side, grid = math.isqrt(out.probability.shape[2]), model.config.vision.grid
    patches = towers.visual.norm(out.patches) @ towers.image_projection
    return Observed(
        video=F.normalize(out.video.float(), dim=-1),
        entities=F.normalize(out.entities.float(), dim=-1),
        masks=out.probability.float().unflatten(2, (side, side)),
        tower=out.cls @ towers.image_projection,
        patches=patches.view(*video.shape[:2], grid, grid, -1),
    )


def tower_parameters(model: Henasy, tower: Tower) -> list[nn.Parameter]:
    """Of one tower with its projection into the joint space."""
    towers = model.towers
    if tower == "text":
        return [*towers.text.parameters(), towers.text_projection]
    return [*towers.visual.parameters(), towers.image_projection]


def build(recipe: Recipe) -> Henasy:
    """A new network in training mode, started from `recipe.init`.

    Raises:
        UserError: weights that don't fit the recipe's model; says which do not.
    """
    torch.manual_seed(recipe.seed)
    model = Henasy(recipe.model)
    if recipe.init:
        _start_from(model, Path(recipe.init))
    if recipe.recompute:
        _recompute_blocks(model)
    return model.train()


def freeze(model: Henasy, towers: tuple[Tower, ...]) -> None:
    """No gradient for these towers, and none for the temperature that only LaViLa's own loss reads."""
    model.towers.logit_scale.requires_grad_(False)
    for tower in towers:
        for parameter in tower_parameters(model, tower):
            parameter.requires_grad_(False)


def _start_from(model: Henasy, path: Path) -> None:
    beside = path.with_suffix(".json")
    if path.suffix == ".safetensors" and beside.is_file():
        state, _, metadata = load_weights(path)
        if metadata.get("kind") != "lavila":
            load_strictly(model, state, path)
            return
    load_strictly(model.towers, load_lavila(path, num_frames=model.config.vision.num_frames).state_dict(), path)


def _recompute_blocks(model: Henasy) -> None:
    """Keep of each block its input alone; frozen towers keep nothing anyway."""
    for part in (model.entity_encoder, model.entity_decoder, model.towers.visual):
        for module in part.modules():
            if isinstance(module, nn.ModuleList):
                for block in module:
                    block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
