from typing import TypeVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from henasy_stream.model.attention import (
    Attention,
    CrossAttention,
    CrossAttentionBlock,
    DividedAttention,
    Mlp,
    QuickGELU,
    SpaceTimeBlock,
)

Module = TypeVar("Module", bound=torch.nn.Module)


def oracle_attention(layer: DividedAttention, x: Tensor, prefix: int, frames: int) -> Tensor:
    """Full attention over all tokens under a boolean mask that says who may see whom."""
    length, width = x.shape[1:]
    patches = torch.arange(length - prefix)
    per_frame = (length - prefix) // frames
    group = patches % per_frame if layer.axis == "time" else patches // per_frame
    allowed = torch.ones(length, length, dtype=torch.bool)
    allowed[prefix:, prefix:] = group[:, None] == group[None]
    q, k, v = F.linear(x, layer.qkv.weight, layer.qkv.bias).split(width, -1)
    heads = []
    for q_h, k_h, v_h in zip(*(part.chunk(layer.heads, -1) for part in (q, k, v)), strict=True):
        logits = q_h @ k_h.transpose(1, 2) * q_h.shape[-1] ** -0.5
        heads.append(logits.masked_fill(~allowed, -torch.inf).softmax(-1) @ v_h)
    return F.linear(torch.cat(heads, -1), layer.proj.weight, layer.proj.bias)


def oracle_block(block: SpaceTimeBlock, x: Tensor, prefix: int, frames: int) -> Tensor:
    time = oracle_attention(block.timeattn, block.norm3(x), prefix, frames)
    x = x + oracle_attention(block.attn, block.norm1(x + time), prefix, frames)
    hidden = F.linear(block.norm2(x), block.mlp.fc1.weight, block.mlp.fc1.bias)
    return x + F.linear(hidden * torch.sigmoid(1.702 * hidden), block.mlp.fc2.weight, block.mlp.fc2.bias)


def randomised(module: Module) -> Module:
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return module


@settings(max_examples=40, deadline=None)
@given(
    prefix=st.integers(0, 4),
    frames=st.integers(1, 5),
    per_frame=st.integers(1, 6),
    batch=st.integers(1, 3),
    heads=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 1000),
)
def test_block_equals_full_attention_under_a_mask(prefix, frames, per_frame, batch, heads, seed):
    torch.manual_seed(seed)
    block = randomised(SpaceTimeBlock(16, heads)).double()
    x = torch.randn(batch, prefix + frames * per_frame, 16, dtype=torch.float64)
    x_oracle = x.clone().requires_grad_()
    x.requires_grad_()
    out, expected = block(x, prefix=prefix, frames=frames), oracle_block(block, x_oracle, prefix, frames)
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9)
    weight = torch.randn_like(out)
    (out * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(x.grad, x_oracle.grad, rtol=1e-8, atol=1e-8)


def test_time_output_stays_out_of_the_residual():
    block = randomised(SpaceTimeBlock(16, 2))
    for layer in (block.attn.proj, block.mlp.fc2):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    x = torch.randn(2, 1 + 3 * 4, 16)
    assert torch.equal(block(x, prefix=1, frames=3), x)


@pytest.mark.parametrize(("tokens", "prefix", "frames"), [(8, 1, 2), (3, 3, 1), (2, 3, 1)])
def test_block_refuses_tokens_that_are_not_whole_frames(tokens, prefix, frames):
    with pytest.raises(ValueError, match=f"{tokens} tokens"):
        SpaceTimeBlock(16, 2)(torch.zeros(1, tokens, 16), prefix=prefix, frames=frames)


def test_block_has_the_parameter_names_of_lavila():
    linear = ("attn.qkv", "attn.proj", "timeattn.qkv", "timeattn.proj", "mlp.fc1", "mlp.fc2")
    layers = (*linear, "norm1", "norm2", "norm3")
    assert set(SpaceTimeBlock(16, 2).state_dict()) == {
        f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")
    }


def test_fresh_time_attention_is_alive():
    assert SpaceTimeBlock(16, 2).timeattn.qkv.weight.std() > 0.05


def test_mlp_folds_the_activation_exactly():
    mlp = randomised(Mlp(8)).double()
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(mlp(x), mlp.fc2(QuickGELU()(mlp.fc1(x))), rtol=1e-12, atol=1e-12)


def test_exported_mlp_keeps_plain_products_and_gives_the_same():
    mlp = randomised(Mlp(8))
    x = torch.randn(2, 3, 8)
    program = torch.export.export(mlp, (x,))
    names = {str(node.target) for node in program.graph.nodes}
    assert "aten.linear.default" in names
    assert "aten.addmm.default" not in names
    torch.testing.assert_close(program.module()(x), mlp(x), rtol=1e-5, atol=1e-5)


def test_block_runs_under_bf16_autocast():
    block = SpaceTimeBlock(16, 2)
    x = torch.randn(1, 1 + 2 * 4, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = block(x, prefix=1, frames=2)
    torch.testing.assert_close(out.float(), block(x, prefix=1, frames=2), rtol=0.1, atol=0.1)


def test_causal_attention_sees_only_the_past():
    layer = randomised(Attention(16, 4, causal=True))
    x = torch.randn(2, 7, 16)
    torch.testing.assert_close(layer(x)[:, :4], layer(x[:, :4]), rtol=1e-5, atol=1e-5)


def test_cross_attention_equals_the_plain_formula():
    layer = randomised(CrossAttention(16, 4, kv_width=12)).double()
    q, kv = torch.randn(2, 3, 16, dtype=torch.float64), torch.randn(2, 9, 12, dtype=torch.float64)
    query = layer.q(q).view(2, 3, 4, 4)
    key, value = (part.view(2, 9, 4, 4) for part in layer.kv(kv).split(16, -1))
    weights = (torch.einsum("bqhd,blhd->bhql", query, key) / 2).softmax(-1)
    expected = layer.proj(torch.einsum("bhql,blhd->bqhd", weights, value).reshape(2, 3, 16))
    torch.testing.assert_close(layer(q, kv), expected, rtol=1e-9, atol=1e-9)


def test_cross_attention_block_is_pre_norm_with_two_residuals():
    block = randomised(CrossAttentionBlock(16, 2, kv_width=12))
    q, kv = torch.randn(2, 3, 16), torch.randn(2, 9, 12)
    attended = q + block.cross(block.norm_q(q), block.norm_kv(kv))
    torch.testing.assert_close(block(q, kv), attended + block.mlp(block.norm_mlp(attended)))


@pytest.mark.parametrize("build", [lambda: Attention(10, 3), lambda: CrossAttention(10, 3, 8)])
def test_width_that_heads_do_not_divide_is_refused(build):
    with pytest.raises(ValueError, match="width 10 is not a multiple of heads 3"):
        build()
