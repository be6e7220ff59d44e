"""Gated carry-over of slots: what an entity was in the last frame helps to find it in the next.

Shapes: B batch, E entities, D entity width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from henasy_stream.model.entity_decoder import SelfAttentionBlock


class SlotCarry(nn.Module):
    """Predicts the slots of the next frame, which are added to the learned queries.

    The gate starts at zero: then the queries are the learned ones, as in the paper.  The norm bounds what goes round.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.predict = SelfAttentionBlock(width, heads)
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, slots: Tensor) -> Tensor:
        """Entity tokens of the last frame (B, E, D) → what to add to the learned queries, (B, E, D)."""
        return self.gate * self.norm(self.predict(slots, slots.shape[1])[0])
