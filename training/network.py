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

from henasy_stream.errors import UserError
from henasy_stream.model.checkpoints import load_strictly, load_weights
from henasy_stream.model.grouping import at_least_float32
from henasy_stream.model.henasy import Henasy
from henasy_stream.model.lavila import load_lavila
from training.config import Recipe, Tower


class Observed(NamedTuple):
    """Of one pass over clips, never in half precision; video and entities are L2-normalised.

    video: (N, J).  entities: (N, E, J).  masks: (N, T, h, h, E) probability of the entity given the patch.
    tower: (N, J) the global encoder's own video embedding.  patches: (N, T, k, k, J) its patch tokens in that space, or
    None.
    """

    video: Tensor
    entities: Tensor
    masks: Tensor
    tower: Tensor
    patches: Tensor | None


def observe(model: Henasy, video: Tensor, *, patches: bool = False) -> Observed:
    """Run the network on (N, T, 3, S, S); `patches` asks for those tokens, which few losses read."""
    out = model(video)
    towers = model.towers
    side, grid = math.isqrt(out.probability.shape[2]), model.config.vision.grid
    seen = at_least_float32(towers.visual.norm(out.patches) @ towers.image_projection) if patches else None
    return Observed(
        video=F.normalize(at_least_float32(out.video), dim=-1),
        entities=F.normalize(at_least_float32(out.entities), dim=-1),
        masks=at_least_float32(out.probability).unflatten(2, (side, side)),  # type: ignore[no-untyped-call]
        tower=at_least_float32(out.cls @ towers.image_projection),
        patches=None if seen is None else seen.view(*video.shape[:2], grid, grid, -1),
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
        UserError: weights that don't fit the recipe's model; says which do not.  A causal network, which has no
            training yet.
    """
    if recipe.model.attention != "window":
        raise UserError(f"--model.attention {recipe.model.attention}: only window networks can be trained so far")
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
    """Keep of each block its input alone; the blocks of a frozen tower keep nothing anyway."""
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            for block in module:
                block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
