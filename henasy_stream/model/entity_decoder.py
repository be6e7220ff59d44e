"""The entity-aware decoder (paper 4.3, Eq. 5 and 6) and the two baselines of the paper's design table.

Shapes: B batch, E entities, L patches of all frames, D entity width, Dg width of the global encoder.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from henasy_stream.config import HenasyConfig
from henasy_stream.model.attention import CrossAttention, Mlp, init_linear


class EntityDecoderBlock(nn.Module):
    """ẽ = CrossAtt(e, z), then MLP(SelfAtt(ẽ)), pre-norm with a residual around each (Eq. 5)."""

    def __init__(self, width: int, heads: int, patch_width: int) -> None:
        super().__init__()
        self.norm_entities = nn.LayerNorm(width)
        self.norm_patches = nn.LayerNorm(patch_width)
        self.cross = CrossAttention(width, heads, patch_width)
        self.attention = SelfAttentionBlock(width, heads)

    def read(self, entities: Tensor, patches: Tensor) -> Tensor:
        """The cross-attention: (B, E, D), (B, L, Dg) → (B, E, D)."""
        return entities + self.cross(self.norm_entities(entities), self.norm_patches(patches))

    def forward(self, entities: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """(B, E, D), (B, L, Dg) → as `SelfAttentionBlock` for all entities."""
        return self.attention(self.read(entities, patches), entities.shape[1])


class SelfAttentionBlock(nn.Module):
    """A plain pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = CrossAttention(width, heads, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = Mlp(width)

    def forward(self, tokens: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """(B, N, D) → (B, N, D), and (B, H, count, count): how much each of the last `count` tokens attends to each of
        them, without gradient.
        """
        normed = self.norm_attention(tokens)
        read, looks = self.attention.looking(normed, normed, count)
        tokens = tokens + read
        return tokens + self.mlp(self.norm_mlp(tokens)), looks


class EntityDecoder(nn.Module):
    """Lets the entities read the final patches.

    `config.decoder`: "entity" as in the paper; "average" returns the entities as they are; "self_attention" attends
    over [patches; entities] together.
    """

    def __init__(self, config: HenasyConfig) -> None:
        super().__init__()
        width, heads, patch_width = config.entity_width, config.entity_heads, config.vision.width
        self.kind = config.decoder
        if self.kind == "entity":
            self.blocks = nn.ModuleList(
                EntityDecoderBlock(width, heads, patch_width) for _ in range(config.decoder_layers)
            )
        elif self.kind == "self_attention":
            self.patch_projection = nn.Sequential(nn.LayerNorm(patch_width), nn.Linear(patch_width, width))
            self.blocks = nn.ModuleList(SelfAttentionBlock(width, heads) for _ in range(config.decoder_layers))
        self.apply(init_linear)

    def forward(self, entities: Tensor, patches: Tensor) -> tuple[Tensor, Tensor | None]:
        """Entities (B, E, D) and final patches (B, L, Dg) → entities (B, E, D), and (B, E, E) how much each attended to
        each other: the mean over layers and heads, None without attention.
        """
        count, looks = entities.shape[1], []
        if self.kind == "entity":
            for block in cast(Iterable[EntityDecoderBlock], self.blocks):
                entities, seen = block(entities, patches)
                looks.append(seen)
        elif self.kind == "self_attention":
            tokens = torch.cat([self.patch_projection(patches), entities], 1)
            for plain in cast(Iterable[SelfAttentionBlock], self.blocks):
                tokens, seen = plain(tokens, count)
                looks.append(seen)
            entities = tokens[:, -count:]
        return entities, mean_looks(looks)


def mean_looks(looks: list[Tensor]) -> Tensor | None:
    """(B, H, E, E) of each layer → (B, E, E), the mean over layers and heads; None without layers."""
    return torch.cat(looks, 1).mean(1) if looks else None
