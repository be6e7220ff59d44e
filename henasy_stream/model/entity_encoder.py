"""The local entity encoder: patches → segments → entities (paper 4.2).

Shapes: B batch, T frames, K patches of a frame, G segment groups, E entities, D entity width, Dg width of the global
encoder.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from henasy_stream.config import HenasyConfig
from henasy_stream.model.attention import CrossAttentionBlock, SpaceTimeBlock
from henasy_stream.model.grouping import Assignment, TemporalAwareGrouping


class Entities(NamedTuple):
    """What the encoder assembled.

    per_frame: (B, T, E, D); pooled: mean over time, (B, E, D).
    boot: patch → segment assignment (B, T, G, K), None without bootstrapping; entity: segment → entity assignment
    (B, T, E, G), or patch → entity (B, T, E, K) then.
    probability: (B, T, K, E), probability of the entity given the patch (Eq. 13 before the paper's softmax over
    patches); 4*K cells of half a patch's side with `fine_masks`.
    """

    per_frame: Tensor
    pooled: Tensor
    boot: Assignment | None
    entity: Assignment
    probability: Tensor


def patches_of(tokens: Tensor) -> Tensor:
    """The tokens of the global encoder without the video token, (B, 1 + T*K, Dg) → (B, T*K, Dg)."""
    return torch.split(tokens, [1, tokens.shape[1] - 1], 1)[1]  # cheaper backwards than a slice


class EntityEncoder(nn.Module):
    """Bootstrapping beside the frozen encoder's early layers (Eq. 2, 3), then entity grouping.

    Without bootstrapping layers (a row of the paper's design table) the projected final patches stand as segments.
    """

    def __init__(self, config: HenasyConfig) -> None:
        super().__init__()
        width, heads = config.entity_width, config.entity_heads
        self.bootstrap_layers = config.bootstrap_layers
        self.entity_tokens = nn.Parameter(torch.randn(config.num_entities, width) * 0.5)
        self.patch_projection = nn.Sequential(nn.LayerNorm(config.vision.width), nn.Linear(config.vision.width, width))
        if config.bootstrap_layers:
            self.group_tokens = nn.Parameter(torch.randn(config.num_groups, width) * 0.5)
            self.bootstrap = nn.ModuleList(
                CrossAttentionBlock(width, heads, config.vision.width) for _ in range(config.bootstrap_layers)
            )
            self.segment_grouping = self._grouping(config)
        self.fine_key = nn.Linear(config.vision.fine_channels, width) if config.fine_masks else None
        self.grouping_blocks = nn.ModuleList(SpaceTimeBlock(width, heads) for _ in range(config.grouping_layers))
        self.entity_grouping = self._grouping(config)
        self.refine_blocks = nn.ModuleList(SpaceTimeBlock(width, heads) for _ in range(config.refine_layers))

    @staticmethod
    def _grouping(config: HenasyConfig) -> TemporalAwareGrouping:
        return TemporalAwareGrouping(config.entity_width, similarity=config.similarity, scale=config.similarity_scale)

    def _segments(
        self, hidden: tuple[Tensor, ...], frames: int, fine: Tensor | None
    ) -> tuple[Tensor, Assignment | None, Tensor | None]:
        """Segment tokens (B, T, G, D), their assignment, and P(segment | cell) (B, T, G, cells) for the masks."""
        depth = self.bootstrap_layers or len(hidden) - 1
        patches = self.patch_projection(patches_of(hidden[depth])).unflatten(1, (frames, -1))  # B T K D
        if not self.bootstrap_layers:
            return patches, None, None
        groups = self.group_tokens.expand(patches.shape[0], -1, -1)
        for block, tokens in zip(self.bootstrap, hidden, strict=False):
            groups = block(groups, patches_of(tokens))
        segments, boot = self.segment_grouping(groups, patches)
        if self.fine_key is None or fine is None:
            return segments, boot, boot.soft
        return segments, boot, self.fine(groups, patches, fine)

    def fine(self, groups: Tensor, patches: Tensor, fine: Tensor) -> Tensor:
        """P(segment | cell) at twice the resolution: the patch's key, interpolated, plus what the stem saw there."""
        assert self.fine_key is not None
        batch, frames, cells, _ = patches.shape
        side = math.isqrt(cells)
        keys = self.segment_grouping.key(patches).transpose(-1, -2).reshape(batch * frames, -1, side, side)
        keys = F.interpolate(keys, scale_factor=2, mode="bilinear", align_corners=False)
        keys = keys.flatten(2).transpose(1, 2) + self.fine_key(fine.flatten(0, 1).flatten(2).transpose(1, 2))
        return self.segment_grouping.logits(groups, keys.unflatten(0, (batch, frames))).softmax(-2)

    def forward(self, hidden: tuple[Tensor, ...], frames: int, fine: Tensor | None = None) -> Entities:
        """Assemble entities.

        Args:
            hidden: the global encoder's tokens after each depth, each (B, 1 + T*K, Dg), the embedded patches first.
            frames: T.
            fine: (B, T, C, 2*grid, 2*grid), features for finer masks; read only by weights trained with `fine_masks`.
        """
        segments, boot, cells = self._segments(hidden, frames, fine)
        batch, _, _, width = segments.shape
        num_entities = len(self.entity_tokens)
        tokens = torch.cat([self.entity_tokens.expand(batch, -1, -1).to(segments.dtype), segments.flatten(1, 2)], 1)
        for block in self.grouping_blocks:
            tokens = block(tokens, prefix=num_entities, frames=frames)
        queries, segments = torch.split(tokens, [num_entities, tokens.shape[1] - num_entities], 1)
        segments = segments.reshape(batch, frames, -1, width)
        grouped = self.entity_grouping(queries, segments)
        per_frame = grouped.tokens.flatten(1, 2)
        for block in self.refine_blocks:
            per_frame = block(per_frame, prefix=0, frames=frames)
        per_frame = per_frame.view(batch, frames, num_entities, width)
        probability = grouped.assignment.soft.transpose(-1, -2)  # B T G E
        if cells is not None:
            probability = torch.matmul(cells.transpose(-1, -2), probability)
        return Entities(per_frame, per_frame.mean(1), boot, grouped.assignment, probability)
