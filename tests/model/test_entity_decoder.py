from __future__ import annotations

import dataclasses
from typing import Any, get_args, get_type_hints

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from henasy_stream.config import HenasyConfig, VisionConfig
from henasy_stream.model.entity_decoder import EntityDecoder

VISION = VisionConfig(image_size=24, patch_size=8, num_frames=3, width=12, layers=2, heads=2)
TINY = HenasyConfig(vision=VISION, entity_width=16, entity_heads=2, bootstrap_layers=2, decoder_layers=2)
KINDS: tuple[Any, ...] = get_args(get_type_hints(HenasyConfig)["decoder"])
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


def decoder_of(kind: Any, seed: int = 0, **sizes: Any) -> EntityDecoder:
    torch.manual_seed(seed)
    decoder = EntityDecoder(dataclasses.replace(TINY, decoder=kind, **sizes)).double().eval()
    for parameter in decoder.parameters():  # biases and norms start at values that would hide a mistake
        nn.init.normal_(parameter, std=0.5)
    return decoder


def inputs(batch: int = 2, entities: int = 3, patches: int = 27) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, entities, 16).double(), torch.randn(batch, patches, 12).double()


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Softmax attention of one clip, head by head and query by query: (Q, D), (N, D), (N, D) → (Q, D)."""
    out = torch.zeros_like(query)
    depth = query.shape[-1] // heads
    for head in range(heads):
        part = slice(head * depth, (head + 1) * depth)
        for row in range(len(query)):
            weight = (key[:, part] @ query[row, part] / depth**0.5).softmax(0)
            out[row, part] = weight @ value[:, part]
    return out


def attention(layer: Any, queries: Tensor, others: Tensor, heads: int) -> Tensor:
    key, value = layer.kv(others).chunk(2, -1)
    return layer.proj(attend(layer.q(queries), key, value, heads))


def norm(layer: Any, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + layer.eps).sqrt() * layer.weight + layer.bias


def mlp(layer: Any, x: Tensor) -> Tensor:
    hidden = layer.fc1(x)
    return layer.fc2(hidden * torch.sigmoid(1.702 * hidden))


def self_attention_block(block: Any, x: Tensor, heads: int) -> Tensor:
    normed = norm(block.norm_attention, x)
    x = x + attention(block.attention, normed, normed, heads)
    return x + mlp(block.mlp, norm(block.norm_mlp, x))


def entity_decoder(decoder: Any, entities: Tensor, patches: Tensor, heads: int) -> Tensor:
    """Eq. 5 for one clip."""
    for block in decoder.blocks:
        read = attention(block.cross, norm(block.norm_entities, entities), norm(block.norm_patches, patches), heads)
        entities = self_attention_block(block.attention, entities + read, heads)
    return entities


def joint_decoder(decoder: Any, entities: Tensor, patches: Tensor, heads: int) -> Tensor:
    to_norm, to_linear = decoder.patch_projection
    tokens = torch.cat([to_linear(norm(to_norm, patches)), entities])
    for block in decoder.blocks:
        tokens = self_attention_block(block, tokens, heads)
    return tokens[len(patches) :]


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 7)),
    layers=st.integers(0, 2),
    heads=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 2**16),
    kind=st.sampled_from([("entity", entity_decoder), ("self_attention", joint_decoder)]),
)
@torch.no_grad()
def test_a_decoder_equals_its_formula(sizes, layers, heads, seed, kind):
    name, oracle = kind
    decoder = decoder_of(name, seed, decoder_layers=layers, entity_heads=heads)
    entities, patches = inputs(*sizes)
    expected = torch.stack([oracle(decoder, e, p, heads) for e, p in zip(entities, patches, strict=True)])
    torch.testing.assert_close(decoder(entities, patches)[0], expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=8, deadline=None)
@given(heads=st.sampled_from([1, 2, 4]), seed=st.integers(0, 2**16), kind=st.sampled_from(["entity", "self_attention"]))
@torch.no_grad()
def test_what_entities_attend_to_is_what_the_layers_compute(heads, seed, kind):
    decoder = decoder_of(kind, seed, decoder_layers=1, entity_heads=heads)
    entities, patches = inputs()
    _, looks = decoder(entities, patches)
    assert looks is not None
    block: Any = decoder.blocks[0]
    if kind == "entity":
        tokens, block = block.read(entities, patches), block.attention
    else:
        tokens = torch.cat([decoder.patch_projection(patches), entities], 1)
    normed = block.norm_attention(tokens)
    layer, depth = block.attention, 16 // heads
    query, key = layer.q(normed), layer.kv(normed)[..., :16]
    expected = torch.zeros(2, 3, 3).double()
    for clip in range(2):
        for head in range(heads):
            part = slice(head * depth, (head + 1) * depth)
            logits = query[clip, -3:, part] @ key[clip, :, part].T / depth**0.5
            expected[clip] += logits.softmax(-1)[:, -3:] / heads
    torch.testing.assert_close(looks, expected, rtol=1e-9, atol=1e-9)
    assert (looks.sum(-1) <= 1 + 1e-9).all()


def test_what_is_averaged_attends_to_nothing():
    assert decoder_of("average")(*inputs())[1] is None


def test_the_average_baseline_has_nothing_to_learn():
    decoder, (entities, patches) = decoder_of("average"), inputs()
    assert torch.equal(decoder(entities, patches)[0], entities)
    assert not list(decoder.parameters())


@EVERY_KIND
@torch.no_grad()
def test_entities_follow_their_order_and_patches_have_none(kind):
    decoder, (entities, patches) = decoder_of(kind), inputs()
    decoded, _ = decoder(entities, patches)
    assert decoded.shape == entities.shape
    order = torch.tensor([2, 0, 1])
    moved, _ = decoder(entities[:, order], patches[:, torch.randperm(27)])
    torch.testing.assert_close(moved, decoded[:, order], rtol=1e-9, atol=1e-9)


@EVERY_KIND
@torch.no_grad()
def test_clips_of_a_batch_do_not_see_each_other(kind):
    decoder, (entities, patches) = decoder_of(kind), inputs()
    alone, _ = decoder(entities[1:], patches[1:])
    torch.testing.assert_close(alone, decoder(entities, patches)[0][1:], rtol=1e-9, atol=1e-9)


@EVERY_KIND
def test_every_parameter_learns_and_both_inputs_count(kind):
    decoder, (entities, patches) = decoder_of(kind).train(), inputs()
    entities.requires_grad_()
    patches.requires_grad_()
    decoder(entities, patches)[0].square().sum().backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert entities.grad is not None
    assert entities.grad.any(-1).all()
    if kind != "average":
        assert patches.grad is not None
        assert patches.grad.any(-1).all()


@EVERY_KIND
def test_bfloat16_autocast_is_finite(kind):
    decoder, (entities, patches) = decoder_of(kind).float().train(), inputs()
    with torch.autocast("cpu", torch.bfloat16):
        decoded, _ = decoder(entities.float().requires_grad_(), 50 * patches.float())
    decoded.float().square().sum().backward()
    assert decoded.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in decoder.parameters())
