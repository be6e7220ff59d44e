"""Temporal-aware grouping (TAG): tokens of a frame choose the group they belong to (paper Eq. 4, 11, 12).

Shapes: B batch, T frames, G groups, N input tokens of a frame, D width.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Assignment(NamedTuple):
    """Which group each token belongs to, (..., G, N); both sum to 1 over the groups.

    `soft` is the probability without noise, `hard` the one-hot choice (with noise, if any) that carries the gradient of
    its soft value.
    """

    soft: Tensor
    hard: Tensor


def gumbel_noise(like: Tensor) -> Tensor:
    """Gumbel(0, 1) samples in float32, shaped as `like`."""
    uniform = torch.rand(like.shape, device=like.device, dtype=torch.float32)
    tiny = torch.finfo(torch.float32).tiny
    return -torch.log(-torch.log(uniform.clamp(tiny, 1 - 2**-24)))


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision becomes float32; float32 and float64 stay."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def assign(logits: Tensor, noise: Tensor | None = None) -> Assignment:
    """Straight-through assignment of tokens to groups (Eq. 11, 12).

    Args:
        logits: (..., G, N).
        noise: added to the logits for the choice and for the gradient; None chooses deterministically.

    Returns:
        Assignment in float32, or float64 for such logits.  A tie goes to the first group, as in every backend that we
        export to.
    """
    logits = at_least_float32(logits)
    soft = logits.softmax(-2)
    noisy = soft if noise is None else (logits + noise).softmax(-2)
    choice = noisy.argmax(-2, keepdim=True)
    one_hot = (choice == torch.arange(logits.shape[-2], device=logits.device)[:, None]).to(noisy.dtype)
    return Assignment(soft=soft, hard=one_hot + noisy - noisy.detach())


def _no_autocast(device: str) -> AbstractContextManager[object]:
    # Entered only where there is something to switch off: an exported graph would hold the context.
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


class Grouped(NamedTuple):
    """Merged tokens (B, T, G, D) and the assignment (B, T, G, N) that merged them."""

    tokens: Tensor
    assignment: Assignment


class TemporalAwareGrouping(nn.Module):
    """o[t, i] = q_i + mean of the tokens of frame t that chose group i; an empty group keeps q_i.

    The queries are shared by all frames and the merge is per frame: that keeps identity over time.
    """

    def __init__(self, width: int, *, similarity: Literal["cosine", "scaled_dot"], scale: float) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.similarity = similarity
        self.scale = scale if similarity == "cosine" else width**-0.5

    def logits(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Similarities (B, T, G, N) of queries (B, G, D) with projected keys (B, T, N, D), never in half precision.

        Products in bfloat16 would leave two of a hundred tokens in a tie, and ties favour the first groups.
        """
        q, k = at_least_float32(self.query(queries)), at_least_float32(keys)
        if self.similarity == "cosine":
            q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        with _no_autocast(q.device.type):
            return torch.matmul(q.unsqueeze(1), k.transpose(-1, -2)) * self.scale

    def forward(self, queries: Tensor, inputs: Tensor, *, noise: Tensor | None = None) -> Grouped:
        """Group the tokens of every frame.

        Args:
            queries: group tokens (B, G, D).
            inputs: tokens (B, T, N, D).
            noise: (B, T, G, N); by default Gumbel noise in training and none in evaluation.
        """
        logits = self.logits(queries, self.key(inputs))
        if noise is None and self.training:
            noise = gumbel_noise(logits)
        assignment = assign(logits, noise)
        hard = assignment.hard.to(inputs.dtype)
        count = assignment.hard.sum(-1, keepdim=True)
        # Not clamped at 1: straight-through ones are rounded, and a lone token's gradient would hang on that.
        count = torch.where(count > 0.5, count, torch.ones_like(count))
        merged = (torch.matmul(hard, inputs) / count).to(inputs.dtype)  # a count above 2048 has no place in float16
        return Grouped(tokens=queries.unsqueeze(1) + merged, assignment=assignment)
