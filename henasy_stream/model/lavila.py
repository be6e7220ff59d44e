"""LaViLa's dual encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from henasy_stream.config import TextConfig, VisionConfig
from henasy_stream.model.text import TextTransformer
from henasy_stream.model.timesformer import TimeSformer


class DualEncoder(nn.Module):
    """A video and a text tower with linear maps into one space.

    `logit_scale` is stored as a logarithm.
    """

    def __init__(self, vision: VisionConfig, text: TextConfig, embed_dim: int) -> None:
        super().__init__()
        self.visual = TimeSformer(vision)
        self.text = TextTransformer(text)
        self.image_projection = nn.Parameter(torch.empty(vision.width, embed_dim))
        self.text_projection = nn.Parameter(torch.empty(text.width, embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        nn.init.normal_(self.image_projection, std=vision.width**-0.5)
        nn.init.normal_(self.text_projection, std=text.width**-0.5)

    def encode_video(self, video: Tensor) -> Tensor:
        """(B, T, 3, S, S) float, normalised -> (B, D), projected, not L2-normalised."""
        return self.visual(video).cls @ self.image_projection

    def encode_text(self, token_ids: Tensor) -> Tensor:
        """(B, L) int64 -> (B, D), projected, not L2-normalised."""
        return self.text(token_ids) @ self.text_projection
