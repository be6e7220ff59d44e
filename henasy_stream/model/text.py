"""The text tower: CLIP's causal transformer as LaViLa uses it.

Shapes: `B` texts, `L` tokens, `D` width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from henasy_stream.config import TextConfig
from henasy_stream.model.attention import Attention, Mlp, init_linear


class TextBlock(nn.Module):
    """Pre-norm causal self-attention and MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads, causal=True)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)
        self.apply(init_linear)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TextTransformer(nn.Module):
    """Token ids to one feature per text, read at the end token."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.positional_embedding = nn.Parameter(torch.empty(config.context, config.width))
        self.blocks = nn.ModuleList(TextBlock(config.width, config.heads) for _ in range(config.layers))
        self.ln_final = nn.LayerNorm(config.width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)

    def encode(self, token_ids: Tensor) -> Tensor:
        """(B, L) int64 with L <= context -> (B, L, D): every token after `ln_final`."""
        if token_ids.shape[1] > self.config.context:
            raise ValueError(f"{token_ids.shape[1]} tokens do not fit a context of {self.config.context}")
        x = self.token_embedding(token_ids) + self.positional_embedding[: token_ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.ln_final(x)

    def forward(self, token_ids: Tensor) -> Tensor:
        """Features at the end token, before the projection.

        Only as many positions are computed as the longest text has: under the causal mask nothing behind the end token
        can reach it.

        Args:
            token_ids: (B, L) int64.  The end token is the vocabulary's highest id, so the first maximum of a row is
                the end of its text; a row that lost its end token is read at its first maximum as well, as in LaViLa.

        Returns:
            (B, D).
        """
        if not len(token_ids):
            return self.ln_final.weight.new_zeros(0, self.config.width)
        end = token_ids.argmax(1)
        tokens = self.encode(token_ids[:, : int(end.max()) + 1])
        return tokens[torch.arange(len(end), device=end.device), end]
