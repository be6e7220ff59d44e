"""Attention of one frame's tokens to a band of frames, and what of the transformer blocks is built on it.

A frame at time t sees t-T+1 … t.  Keys carry no trace of time: what a query adds for a key's age, its lag, comes from a
table over the lags 0 … T-1, so that no key is touched again as it grows old (design, "Two ways to stream").

Shapes: `T` frames of the band, `F` frames that look at bands of their own (batch folded in), `N` tokens of a frame, `P`
prefix tokens, `Q` queries, `H` heads, `d` head width, `D` width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from henasy_stream.model.attention import Attention, CrossAttention, CrossAttentionBlock, SpaceTimeBlock


class Band(NamedTuple):
    """What some frames remember of themselves and of the frames before.

    frames: which of the F frames look at it.  content: (T, F, …), in any order of time; T may be less than the band's
    width while there is less to remember.  lags: (T,), how many frames old each row is.  seen: (T, F) or (T, 1), False
    where nothing has been yet; None where all has.
    """

    frames: slice
    content: Tensor
    lags: Tensor
    seen: Tensor | None


class Memory(Protocol):
    """Keeps what attention sites show, and gives each frame its band of it."""

    def bands(self, site: str, new: Tensor) -> Iterator[Band]:
        """Remembers `new` (F, …) under the name of a site and yields bands that cover all F frames, in order."""


class Prefix(NamedTuple):
    """Queries, keys and values of a frame's prefix, each (F, P, H, d)."""

    query: Tensor
    key: Tensor
    value: Tensor


def _masked(scores: Tensor, seen: Tensor | None) -> Tensor:
    """Scores (F, …, T) with -inf for rows not seen."""
    if seen is None:
        return scores
    hidden = ~seen.t().view(seen.shape[1], *(1,) * (scores.dim() - 2), -1)
    return scores.masked_fill(hidden, -torch.inf)


def at_own_place(query: Tensor, prefix: Prefix | None, keys: Band, values: Tensor, table: Tensor) -> Tensor:
    """Token n of a frame sees token n of the band and the prefix of its own frame.

    Args:
        query: (F, N, H, d), scaled.
        prefix: of the same frames.
        keys: content (T, F, N, H, d).
        values: (T, F, N, H, d).
        table: (T, H, d), what is added to keys, one row for each lag.

    Returns:
        (F, N, H, d).
    """
    scores = torch.einsum("fnhd,tfnhd->fnht", query, keys.content)
    scores = _masked(scores + torch.einsum("fnhd,thd->fnht", query, table[keys.lags]), keys.seen)
    if prefix is None:
        return torch.einsum("fnht,tfnhd->fnhd", scores.softmax(-1), values)
    shared = torch.einsum("fnhd,fphd->fnhp", query, prefix.key)
    weights = torch.cat([shared, scores], -1).softmax(-1)
    shared, scores = torch.split(weights, [shared.shape[-1], scores.shape[-1]], -1)
    seen = torch.einsum("fnht,tfnhd->fnhd", scores, values)
    return seen + torch.einsum("fnhp,fphd->fnhd", shared, prefix.value)


def over_band(query: Tensor, prefix: Prefix | None, keys: Band, values: Tensor, table: Tensor) -> Tensor:
    """Every query sees all tokens of the band, and the prefix of its own frame: (F, Q, H, d) → (F, Q, H, d).

    Arguments as those of `at_own_place`.
    """
    frames, tokens = len(keys.lags), values.shape[2]
    ages = _masked(torch.einsum("fqhd,thd->fqht", query, table[keys.lags]), keys.seen)
    scores = torch.einsum("fqhd,tfnhd->fqhtn", query, keys.content) + ages[..., None]
    if prefix is None:
        weights = scores.flatten(-2).softmax(-1).view(scores.shape)
        return torch.einsum("fqhtn,tfnhd->fqhd", weights, values)
    shared = torch.einsum("fqhd,fphd->fqhp", query, prefix.key)
    weights = torch.cat([shared, scores.flatten(-2)], -1).softmax(-1)
    shared, weights = torch.split(weights, [shared.shape[-1], frames * tokens], -1)
    weights = weights.reshape(scores.shape)
    seen = torch.einsum("fqhtn,tfnhd->fqhd", weights, values)
    return seen + torch.einsum("fqhp,fphd->fqhd", shared, prefix.value)


def time_attention(layer: Attention, table: Tensor, x: Tensor, prefix: int, memory: Memory, site: str) -> Tensor:
    """The causal form of `DividedAttention(axis="time")`.

    Args:
        layer: whose weights are used.
        table: (T, D), of this site.
        x: (F, prefix + N, D).
        prefix: number of prefix tokens.
        memory: of the band.
        site: name of this layer in the memory.

    Returns:
        (F, prefix + N, D).
    """
    query, key, value = layer.split(x).unbind(2)  # (F, P + N, H, d) each
    query = query * query.shape[-1] ** -0.5
    rows = table.view(len(table), layer.heads, -1)
    out = []
    for keys, values in zip(
        memory.bands(f"{site}.key", key[:, prefix:]), memory.bands(f"{site}.value", value[:, prefix:]), strict=True
    ):
        asked, its_key, its_value = query[keys.frames], key[keys.frames], value[keys.frames]
        if not prefix:
            out.append(at_own_place(asked, None, keys, values.content, rows))
            continue
        shared = Prefix(asked[:, :prefix], its_key[:, :prefix], its_value[:, :prefix])
        first = over_band(shared.query, shared, keys, values.content, rows)
        out.append(torch.cat([first, at_own_place(asked[:, prefix:], shared, keys, values.content, rows)], 1))
    return layer.proj(torch.cat(out).flatten(2))


def space_time(block: SpaceTimeBlock, table: Tensor, x: Tensor, prefix: int, memory: Memory, site: str) -> Tensor:
    """The causal form of a divided space-time block, (F, prefix + N, D) → the same; arguments as `time_attention`.

    In space attention all tokens of a frame see all of them: the prefix is the frame's own.
    """
    timed = x + time_attention(block.timeattn, table, block.norm3(x), prefix, memory, site)
    x = x + Attention.forward(block.attn, block.norm1(timed))
    return x + block.mlp(block.norm2(x))


def cross_attention(layer: CrossAttention, table: Tensor, q: Tensor, kv: Tensor, memory: Memory, site: str) -> Tensor:
    """Queries (F, Q, D) read the band of tokens that grows by kv (F, N, Dkv): (F, Q, D)."""
    query = layer.q(q).view(*q.shape[:2], layer.heads, -1)
    query = query * query.shape[-1] ** -0.5
    key, value = layer.kv(kv).view(*kv.shape[:2], 2, layer.heads, -1).unbind(2)
    rows = table.view(len(table), layer.heads, -1)
    out = [
        over_band(query[keys.frames], None, keys, values.content, rows)
        for keys, values in zip(memory.bands(f"{site}.key", key), memory.bands(f"{site}.value", value), strict=True)
    ]
    return layer.proj(torch.cat(out).flatten(2))


def cross_block(block: CrossAttentionBlock, table: Tensor, q: Tensor, kv: Tensor, memory: Memory, site: str) -> Tensor:
    """The causal form of `CrossAttentionBlock`; arguments as `cross_attention`."""
    q = q + cross_attention(block.cross, table, block.norm_q(q), block.norm_kv(kv), memory, site)
    return q + block.mlp(block.norm_mlp(q))
