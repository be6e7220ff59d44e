"""The causal network written down slowly: it shares the weights with `CausalHenasy` and no code.

Encoders run over the whole clip at once, every token beside every other with a mask that says who sees whom; the entity
stage is a plain loop over frames.  Tokens of a frame: its prefix, then the others.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from henasy_stream.model.causal import CausalHenasy


class Places(NamedTuple):
    """Where each token of a list stands: frame, and index in its frame, negative for prefix tokens."""

    frame: Tensor
    place: Tensor


def places(frames: range, prefix: int, tokens: int) -> Places:
    frame = torch.tensor([t for t in frames for _ in range(prefix + tokens)])
    place = torch.tensor([i for _ in frames for i in range(-prefix, tokens)])
    return Places(frame, place)


def in_time(query: Places, key: Places, width: int) -> Tensor:
    """Who sees whom in time attention: (queries, keys)."""
    lag = query.frame[:, None] - key.frame[None]
    banded = (lag >= 0) & (lag < width)
    of_prefix = key.place[None] < 0
    from_prefix = query.place[:, None] < 0
    own_place = query.place[:, None] == key.place[None]
    return torch.where(of_prefix, lag == 0, banded & (from_prefix | own_place))


def attend(layer: Any, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor, table: Tensor, lag: Tensor | None) -> Tensor:
    """Queries (B, Lq, D), keys and values (B, Lk, D); `lag` (Lq, Lk) is -1 where the table says nothing."""
    out = []
    depth = q.shape[-1] // layer.heads
    for head in range(layer.heads):
        part = slice(head * depth, (head + 1) * depth)
        scores = q[..., part] @ k[..., part].transpose(1, 2)
        if lag is not None:
            aged = q[..., part] @ table[:, part].T  # (B, Lq, T)
            aged = aged.gather(2, lag.clamp(0, len(table) - 1).expand(len(q), -1, -1))
            scores = scores + torch.where(lag >= 0, aged, 0)
        scores = (scores / math.sqrt(depth)).masked_fill(~allowed, -math.inf)
        out.append(torch.softmax(scores, -1) @ v[..., part])
    return torch.cat(out, -1) @ layer.proj.weight.T + layer.proj.bias


def projected(layer: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (x @ layer.qkv.weight.T + layer.qkv.bias).chunk(3, -1)
    return q, k, v


def norm(layer: Any, x: Tensor) -> Tensor:
    return layer_norm(x, x.shape[-1:], layer.weight, layer.bias, layer.eps)


def mlp(layer: Any, x: Tensor) -> Tensor:
    x = x @ layer.fc1.weight.T + layer.fc1.bias
    return (x * torch.sigmoid(1.702 * x)) @ layer.fc2.weight.T + layer.fc2.bias


def block(layer: Any, table: Tensor, x: Tensor, past: Tensor, at: Places, past_at: Places) -> Tensor:
    """One space-time block for tokens x, among which those of `past` (inputs of this block) are that time sees."""
    q, _, _ = projected(layer.timeattn, norm(layer.norm3, x))
    _, k, v = projected(layer.timeattn, norm(layer.norm3, past))
    lag = torch.where(past_at.place[None] < 0, -1, at.frame[:, None] - past_at.frame[None])
    allowed = in_time(at, past_at, len(table))
    timed = x + attend(layer.timeattn, q, k, v, allowed, table, lag)
    q, k, v = projected(layer.attn, norm(layer.norm1, timed))
    same = at.frame[:, None] == at.frame[None]
    x = x + attend(layer.attn, q, k, v, same, table, None)
    return x + mlp(layer.mlp, norm(layer.norm2, x))


def cross(layer: Any, table: Tensor, q: Tensor, kv: Tensor, at: Places, kv_at: Places) -> Tensor:
    k, v = (kv @ layer.kv.weight.T + layer.kv.bias).chunk(2, -1)
    lag = at.frame[:, None] - kv_at.frame[None]
    return attend(layer, q @ layer.q.weight.T + layer.q.bias, k, v, (lag >= 0) & (lag < len(table)), table, lag)


def self_attention(layer: Any, x: Tensor, at: Places) -> Tensor:
    normed = norm(layer.norm_attention, x)
    k, v = (normed @ layer.attention.kv.weight.T + layer.attention.kv.bias).chunk(2, -1)
    q = normed @ layer.attention.q.weight.T + layer.attention.q.bias
    x = x + attend(layer.attention, q, k, v, at.frame[:, None] == at.frame[None], q, None)
    return x + mlp(layer.mlp, norm(layer.norm_mlp, x))


def looks(layer: Any, x: Tensor, count: int) -> Tensor:
    """How much each of the E = `count` entities of a frame attends to each other, (B, H, frames, E, E)."""
    normed = norm(layer.norm_attention, x)
    q = normed @ layer.attention.q.weight.T + layer.attention.q.bias
    k = (normed @ layer.attention.kv.weight.T + layer.attention.kv.bias).chunk(2, -1)[0]
    depth = q.shape[-1] // layer.attention.heads
    q, k = (z.view(len(x), -1, count, layer.attention.heads, depth).permute(0, 3, 1, 2, 4) for z in (q, k))
    return torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(depth), -1)


def choices(layer: Any, queries: Tensor, keys: Tensor) -> Tensor:
    """P(group | token), (B, G, N), of queries (B, G, D) and projected keys (B, N, D)."""
    q, k = queries @ layer.query.weight.T, keys
    if layer.similarity == "cosine":
        q, k = q / q.norm(dim=-1, keepdim=True), k / k.norm(dim=-1, keepdim=True)
    return (q @ k.transpose(1, 2) * layer.scale).softmax(1)


def group(layer: Any, queries: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One frame of grouping: (B, G, D), (B, N, D) → merged (B, G, D), soft (B, G, N) and chosen group (B, N)."""
    soft = choices(layer, queries, inputs @ layer.key.weight.T)
    chosen, merged = soft.argmax(1), queries.clone()
    for b, g in ((b, g) for b in range(len(queries)) for g in range(queries.shape[1])):
        members = inputs[b, chosen[b] == g]
        if len(members):
            merged[b, g] = queries[b, g] + members.mean(0)
    return merged, soft, chosen


@torch.no_grad()
def oracle(model: CausalHenasy, video: Tensor) -> dict[str, Tensor]:
    """Fields of `CausalOutput` by name, assignments as soft (`entity`, `boot`) and chosen (`entity_of`, `boot_of`)."""
    batch, frames = video.shape[:2]
    config, width = model.config, model.config.vision.num_frames
    tower, encoder, lags, decoder, text_space = _parts(model)
    K, E = config.vision.grid**2, config.num_entities

    # The global encoder over the whole clip.
    stem, fine = tower.patch_embed(video.flatten(0, 1))
    first = torch.cat([tower.cls_token.expand(len(stem), 1, -1), stem], 1) + tower.pos_embed
    hidden = [norm(tower.ln_pre, first).view(batch, frames * (1 + K), -1)]
    every = places(range(frames), 1, K)
    for layer, table in zip(tower.blocks, lags["visual"], strict=True):
        hidden.append(block(layer, table, hidden[-1], hidden[-1], every, every))
    patches = [tokens[:, every.place >= 0] for tokens in hidden]
    patches_at = places(range(frames), 0, K)

    # Groups read the band of every depth; patches choose.
    depth = config.bootstrap_layers or config.vision.layers
    norm_, linear = encoder.patch_projection
    seen = (norm(norm_, patches[depth]) @ linear.weight.T + linear.bias).view(batch, frames, K, -1)
    out: dict[str, list[Tensor]] = {name: [] for name in ("boot", "boot_of", "entity", "entity_of", "probability")}
    segments = [seen[:, t] for t in range(frames)]
    cells: list[Tensor | None] = [None] * frames
    if config.bootstrap_layers:
        groups = encoder.group_tokens.expand(batch, frames, -1, -1).flatten(1, 2)
        groups_at = places(range(frames), 0, config.num_groups)
        for layer, table, tokens in zip(encoder.bootstrap, lags["bootstrap"], patches, strict=False):
            q, kv = norm(layer.norm_q, groups), norm(layer.norm_kv, tokens)
            groups = groups + cross(layer.cross, table, q, kv, groups_at, patches_at)
            groups = groups + mlp(layer.mlp, norm(layer.norm_mlp, groups))
        groups = groups.view(batch, frames, config.num_groups, -1)
        for t in range(frames):
            segments[t], soft, chosen = group(encoder.segment_grouping, groups[:, t], seen[:, t])
            cells[t] = soft
            if config.fine_masks:
                cells[t] = fine_cells(encoder, groups[:, t], seen[:, t], fine.unflatten(0, (batch, frames))[:, t])
            out["boot"].append(soft)
            out["boot_of"].append(chosen)

    # Entities, one frame after the other.
    stages = [(layer, table, E) for layer, table in zip(encoder.grouping_blocks, lags.get("grouping", ()), strict=True)]
    refining = [(layer, table, 0) for layer, table in zip(encoder.refine_blocks, lags.get("refine", ()), strict=True)]
    remembered: list[list[Tensor]] = [[] for _ in range(len(stages) + len(refining))]
    slots: list[Tensor] = []

    def advance(t: int, tokens: Tensor, site: int, layer: Any, table: Tensor, prefix: int) -> Tensor:
        remembered[site].append(tokens)
        start = max(0, t - width + 1)
        past, count = torch.cat(remembered[site][start:], 1), tokens.shape[1] - prefix
        at, past_at = places(range(t, t + 1), prefix, count), places(range(start, t + 1), prefix, count)
        return block(layer, table, tokens, past, at, past_at)

    for t in range(frames):
        queries = encoder.entity_tokens.expand(batch, -1, -1)
        if slots:
            at = places(range(1), 0, E)
            queries = queries + model.carry.gate * norm(
                model.carry.norm, self_attention(model.carry.predict, slots[-1], at)
            )
        tokens = torch.cat([queries, segments[t]], 1)
        for site, (layer, table, prefix) in enumerate(stages):
            tokens = advance(t, tokens, site, layer, table, prefix)
        entities, soft, chosen = group(encoder.entity_grouping, tokens[:, :E], tokens[:, E:])
        for site, (layer, table, prefix) in enumerate(refining, start=len(stages)):
            entities = advance(t, entities, site, layer, table, prefix)
        slots.append(entities)
        of_patch = soft.transpose(1, 2)  # (B, N, E)
        cell = cells[t]
        out["probability"].append(of_patch if cell is None else cell.transpose(1, 2) @ of_patch)
        out["entity"].append(soft)
        out["entity_of"].append(chosen)

    # The decoder over the whole clip.
    pooled = [torch.stack(slots[max(0, t - width + 1) : t + 1]).mean(0) for t in range(frames)]
    decoded, at = torch.cat(pooled, 1), places(range(frames), 0, E)
    seen_by: list[Tensor] = []
    if config.decoder == "entity":
        for layer, table in zip(decoder.blocks, lags.get("decoder", ()), strict=True):
            q, kv = norm(layer.norm_entities, decoded), norm(layer.norm_patches, patches[-1])
            decoded = decoded + cross(layer.cross, table, q, kv, at, patches_at)
            seen_by.append(looks(layer.attention, decoded, E))
            decoded = self_attention(layer.attention, decoded, at)
    norm_, linear = text_space
    decoded = (norm(norm_, decoded) @ linear.weight.T + linear.bias).view(batch, frames, E, -1)
    stacked = {name: torch.stack(values, 1) for name, values in out.items() if values}
    if seen_by:
        stacked["attention"] = torch.cat(seen_by, 1).mean(1)
    return stacked | {
        "video": decoded.mean(2),
        "entities": decoded,
        "per_frame": torch.stack(slots, 1),
        "patches": patches[-1].view(batch, frames, K, -1),
        "cls": norm(tower.norm, hidden[-1][:, every.place < 0]),
    }


def fine_cells(encoder: Any, groups: Tensor, patches: Tensor, fine: Tensor) -> Tensor:
    """P(segment | cell) of one frame, (B, G, 4K)."""
    side = math.isqrt(patches.shape[1])
    keys = (patches @ encoder.segment_grouping.key.weight.T).transpose(1, 2).unflatten(2, (side, side))
    keys = torch.nn.functional.interpolate(keys, size=(2 * side, 2 * side), mode="bilinear")
    keys = keys.flatten(2).transpose(1, 2)
    keys = keys + fine.flatten(2).transpose(1, 2) @ encoder.fine_key.weight.T + encoder.fine_key.bias
    return choices(encoder.segment_grouping, groups, keys)


def _parts(model: Any) -> tuple[Any, ...]:
    return model.towers.visual, model.entity_encoder, model.lags, model.entity_decoder, model.text_space
