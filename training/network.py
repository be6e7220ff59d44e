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
from henasy_stream.model.causal import CausalHenasy, build_henasy
from henasy_stream.model.checkpoints import load_strictly, load_weights
from henasy_stream.model.grouping import at_least_float32
from henasy_stream.model.henasy import Henasy
from henasy_stream.model.lavila import load_lavila
from training.causal_start import from_window, without_positions_in_time
from training.config import Recipe, Tower


class Observed(NamedTuple):
    """Of one pass over clips, never in half precision; video and entities are L2-normalised.

    video: (N, J).  entities: (N, E, J).  masks: (N, T, h, h, E) probability of the entity given the patch.
    tower: (N, J) the global encoder's own video embedding.  patches: (N, T, k, k, J) its patch tokens in that space, or
    None.  before: (N, E, J) the entities one frame earlier, of a causal network; None of others.
    """

    video: Tensor
    entities: Tensor
    masks: Tensor
    tower: Tensor
    patches: Tensor | None
    before: Tensor | None


def observe(model: Henasy, video: Tensor, *, patches: bool = False) -> Observed:
    """Run the network on (N, T, 3, S, S); `patches` asks for those tokens, which few losses read.

    What a causal network says is what it says at the last frame, but for the masks, which are those of every frame.
    """
    before: Tensor | None = None
    if isinstance(model, CausalHenasy):
        unrolled = model.unrolled(video)
        out, before = unrolled.newest(), unrolled.entities[:, -2] if video.shape[1] > 1 else None
    else:
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
        before=None if before is None else F.normalize(at_least_float32(before), dim=-1),
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
        UserError: weights that don't fit the recipe's model; says which do not.  Recomputation in a causal network.
    """
    torch.manual_seed(recipe.seed)
    model = build_henasy(recipe.model)
    if recipe.init:
        _start_from(model, Path(recipe.init))
    if recipe.recompute:
        if isinstance(model, CausalHenasy):
            raise UserError("--recompute: a causal network keeps its bands anyway; train it without")
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
        state, config, metadata = load_weights(path)
        if metadata.get("kind") != "lavila":
            if isinstance(model, CausalHenasy) and config.attention == "window":
                state = from_window(model, state)
            load_strictly(model, state, path)
            return
    towers = load_lavila(path, num_frames=model.config.vision.num_frames).state_dict()
    if isinstance(model, CausalHenasy):
        towers = without_positions_in_time(towers)
    load_strictly(model.towers, towers, path)


def _recompute_blocks(model: Henasy) -> None:
    """Keep of each block its input alone; the blocks of a frozen tower keep nothing anyway."""
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            for block in module:
                block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
