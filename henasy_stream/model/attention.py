"""Attention layers: divided space-time blocks with prefix tokens, self-attention and cross-attention blocks.

Shapes: `B` batch, `T` frames, `N` tokens of one frame, `P` prefix tokens, `L` = P + T*N, `H` heads, `d` head width,
`D` width, `Q` queries.  Token order is always: prefix, then frame by frame.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the activation of CLIP and LaViLa."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        return x * torch.sigmoid(1.702 * x)


class Mlp(nn.Module):
    """Linear, QuickGELU, linear."""

    def __init__(self, width: int, ratio: float = 4.0) -> None:
        super().__init__()
        hidden = int(width * ratio)
        self.fc1 = nn.Linear(width, hidden)
        self.act = QuickGELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        if torch.compiler.is_compiling():
            return self.fc2(self.act(self.fc1(x)))
        # quickgelu(h) = silu(1.702 h) / 1.702: with both factors inside the products one pass over the hidden layer is
        # left of three, 5 % of a block on a CPU.  Compilers fuse by themselves; exported graphs keep plain products.
        hidden = torch.addmm(self.fc1.bias, x.flatten(0, -2), self.fc1.weight.t(), beta=1.702, alpha=1.702)
        hidden = F.silu(hidden, inplace=not torch.is_grad_enabled())  # fresh memory of that size costs another 5 %
        return torch.addmm(self.fc2.bias, hidden, self.fc2.weight.t(), alpha=1 / 1.702).view(x.shape)


class Attention(nn.Module):
    """Multi-head self-attention with one fused projection (order q, k, v, each split head-major)."""

    def __init__(self, width: int, heads: int, *, causal: bool = False) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.heads = heads
        self.causal = causal
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        """(B, L, D) -> queries, keys, values as one (B, L, 3, H, d)."""
        return self.qkv(x).view(*x.shape[:2], 3, self.heads, -1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D); a causal layer lets token i see 0..i."""
        q, k, v = self.split(x).transpose(1, 3).unbind(2)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.proj(out.transpose(1, 2).flatten(2))


class DividedAttention(Attention):
    """Self-attention of tokens in groups with a prefix that all groups share.

    A prefix query attends to every token, a patch query to the prefix and to its own group: the tokens at one location
    in all frames (`axis="time"`) or the tokens of one frame (`axis="space"`).  With one prefix token this is LaViLa's.
    """

    def __init__(self, width: int, heads: int, axis: Literal["time", "space"]) -> None:
        super().__init__(width, heads)
        self.axis = axis

    def forward(self, x: Tensor, prefix: int, frames: int) -> Tensor:  # type: ignore[override]
        """(B, prefix + frames*N, D) -> the same shape."""
        # Disjoint splits rather than overlapping slices: the gradient of a slice is a zeroed copy of the whole.
        query, kv = torch.split(self.split(x), [1, 2], 2)
        query = query.squeeze(2)  # (B, L, H, d); kv (B, L, 2, H, d)
        batch, length, heads, depth = query.shape
        first_query, query = torch.split(query, [prefix, length - prefix], 1)
        shared, grouped = torch.split(kv, [prefix, length - prefix], 1)
        query = query.view(batch, frames, -1, heads, depth)
        grouped = grouped.view(batch, frames, -1, 2, heads, depth)
        if self.axis == "time":
            query, grouped = query.transpose(1, 2), grouped.transpose(1, 2)  # (B, groups, members, …)
        groups = query.shape[1]
        if prefix:
            grouped = torch.cat([shared[:, None].expand(-1, groups, -1, -1, -1, -1), grouped], 2)
        key, value = grouped.flatten(0, 1).transpose(1, 3).unbind(2)  # (B * groups, H, P + members, d)
        out = F.scaled_dot_product_attention(query.flatten(0, 1).transpose(1, 2), key, value)
        out = out.transpose(1, 2).reshape(batch, groups, -1, heads * depth)
        if self.axis == "time":
            out = out.transpose(1, 2)
        out = out.flatten(1, 2)
        if prefix:
            key, value = kv.transpose(1, 3).unbind(2)
            first = F.scaled_dot_product_attention(first_query.transpose(1, 2), key, value)
            out = torch.cat([first.transpose(1, 2).flatten(2), out], 1)
        return self.proj(out)


class SpaceTimeBlock(nn.Module):
    """Divided space-time block with LaViLa's "frozen in time" residuals and P >= 0 prefix tokens.

    With t = timeattn(norm3(x)) and r = x + attn(norm1(x + t)) the output is r + mlp(norm2(r)): the time output
    reaches the result only through the input of the spatial attention.
    """

    def __init__(self, width: int, heads: int, *, mlp_ratio: float = 4.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = DividedAttention(width, heads, "space")
        self.timeattn = DividedAttention(width, heads, "time")
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.norm3 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, mlp_ratio)
        self.apply(init_linear)

    def forward(self, x: Tensor, *, prefix: int, frames: int) -> Tensor:
        """(B, prefix + frames*N, D) -> the same shape.

        Raises:
            ValueError: the tokens after the prefix do not divide into `frames`.
        """
        if x.shape[1] <= prefix or (x.shape[1] - prefix) % frames:
            raise ValueError(f"{x.shape[1]} tokens are not {prefix} prefix tokens and {frames} frames of equal length")
        timed = x + self.timeattn(self.norm3(x), prefix, frames)
        x = x + self.attn(self.norm1(timed), prefix, frames)
        return x + self.mlp(self.norm2(x))


class CrossAttention(nn.Module):
    """Multi-head attention from queries to other tokens, which may have another width."""

    def __init__(self, width: int, heads: int, kv_width: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(kv_width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, q: Tensor, kv: Tensor) -> Tensor:
        """(B, Q, D), (B, L, Dkv) -> (B, Q, D)."""
        return self._gather(*self._split(q, kv))

    def looking(self, q: Tensor, kv: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """As `forward`, and (B, H, count, count), without gradient: how the last queries attend to the last keys."""
        query, key, value = self._split(q, kv)
        logits = query[:, :, -count:].detach() @ key.detach().transpose(-1, -2) * query.shape[-1] ** -0.5
        return self._gather(query, key, value), logits.softmax(-1)[..., -count:]

    def _split(self, q: Tensor, kv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query = self.q(q).view(*q.shape[:2], self.heads, -1).transpose(1, 2)
        key, value = self.kv(kv).view(*kv.shape[:2], 2, self.heads, -1).transpose(1, 3).unbind(2)
        return query, key, value

    def _gather(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = F.scaled_dot_product_attention(query, key, value)
        return self.proj(out.transpose(1, 2).flatten(2))


class CrossAttentionBlock(nn.Module):
    """Pre-norm cross-attention and MLP, a residual around each (paper Eq. 2 and the first half of Eq. 5)."""

    def __init__(self, width: int, heads: int, kv_width: int, *, mlp_ratio: float = 4.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm_q = nn.LayerNorm(width, eps=eps)
        self.norm_kv = nn.LayerNorm(kv_width, eps=eps)
        self.cross = CrossAttention(width, heads, kv_width)
        self.norm_mlp = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, mlp_ratio)
        self.apply(init_linear)

    def forward(self, q: Tensor, kv: Tensor) -> Tensor:
        """(B, Q, D), (B, L, Dkv) -> (B, Q, D)."""
        q = q + self.cross(self.norm_q(q), self.norm_kv(kv))
        return q + self.mlp(self.norm_mlp(q))


def init_linear(module: nn.Module) -> None:
    """Xavier-normal weights and zero bias for a linear layer; for `Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
