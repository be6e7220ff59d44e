import functools
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from henasy_stream.config import VisionConfig
from henasy_stream.model.attention import Attention, DividedAttention
from henasy_stream.model.timesformer import TimeSformer

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = VisionConfig(image_size=32, patch_size=8, num_frames=4, width=64, layers=3, heads=4)
CONV = VisionConfig(image_size=32, patch_size=8, num_frames=4, width=48, layers=2, heads=2, stem="conv")
assert_close = functools.partial(torch.testing.assert_close, rtol=1e-5, atol=2e-5)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "lavila_timesformer_tiny.safetensors")


@pytest.fixture(scope="module")
def tower(golden: dict[str, Tensor]) -> TimeSformer:
    return lavila_tower(golden, TINY)


def lavila_tower(golden: dict[str, Tensor], config: VisionConfig) -> TimeSformer:
    prefix = "module.visual."
    model = TimeSformer(config).eval()
    state = {name[len(prefix) :]: tensor for name, tensor in golden.items() if name.startswith(prefix)}
    if config.num_frames == 8:
        state["temporal_embed"] = golden["inflate.temporal_embed_4to8_bilinear"]
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize(
    ("video", "out", "frames"),
    [("in.video", "out.", 4), ("in.video_2frames", "out_2frames.", 2), ("in.video_8frames", "out_8frames.", 8)],
)
@torch.no_grad()
def test_every_hidden_state_equals_lavila(golden, tower, video, out, frames):
    if frames == 8:
        tower = lavila_tower(
            golden, VisionConfig(image_size=32, patch_size=8, num_frames=8, width=64, layers=3, heads=4)
        )
    seen = tower(golden[video].transpose(1, 2))
    names = ["tokens_after_ln_pre", "block0", "block1", "block2"]
    assert len(seen.hidden) == len(names)
    for hidden, name in zip(seen.hidden, names, strict=True):
        assert_close(hidden, golden[out + name])
    assert_close(seen.tokens, golden[out + "all_tokens_after_norm"])
    assert_close(seen.cls, golden[out + "cls_feature"])


@torch.no_grad()
def test_inner_values_of_the_first_block_equal_lavila(golden, tower):
    video = golden["in.video"].transpose(1, 2)
    patches = golden["out.patch_embed"].flatten(2).transpose(1, 2)
    assert_close(tower.patch_embed(video.flatten(0, 1))[0], patches)
    block, x = tower.blocks[0], golden["out.tokens_after_ln_pre"]
    assert_close(block.norm3(x), golden["out.block0_norm3"])
    time = block.timeattn(golden["out.block0_norm3"], 1, 4)
    assert_close(time, golden["out.block0_timeattn_out"])
    assert_close(block.norm1(x + time), golden["out.block0_norm1"])
    space = block.attn(golden["out.block0_norm1"], 1, 4)
    assert_close(space, golden["out.block0_spaceattn_out"])
    mlp = block.mlp(block.norm2(x + golden["out.block0_spaceattn_out"]))
    assert_close(mlp, golden["out.block0_mlp_out"])


def test_too_many_frames_are_refused_with_both_numbers(tower):
    with pytest.raises(ValueError, match=r"5 frames .* 1 to 4 frames"):
        tower(torch.zeros(1, 5, 3, 32, 32))


def test_frames_of_another_size_are_refused(tower):
    with pytest.raises(ValueError, match="3x32x40 do not fit a model for 3x32x32"):
        tower(torch.zeros(1, 4, 3, 32, 40))


def test_conv_stem_gives_the_same_grid_and_keeps_places_apart():
    torch.manual_seed(0)
    model = TimeSformer(CONV)
    seen = model(torch.randn(2, 3, 3, 32, 32))
    assert seen.tokens.shape == (2, 1 + 3 * 16, 48)
    assert len(seen.hidden) == 3
    assert seen.fine is not None
    assert seen.fine.shape == (2, 3, 64, 8, 8)
    same = model(torch.zeros(1, 4, 3, 32, 32)).hidden[0][0, 1:].view(4, 16, 48)
    assert (same[0, 5] - same[0, 6]).abs().mean() > 0.1
    assert (same[0, 5] - same[1, 5]).abs().mean() > 0.1


def test_conv_stem_is_local_and_row_major():
    stem = TimeSformer(CONV).patch_embed
    picture = torch.zeros(1, 3, 32, 32)
    lit = picture.clone()
    lit[..., 24:, :8] = 3.0
    # GroupNorm shares its statistics over the picture: all tokens move a little, those near the lit corner most.
    moved = (stem(lit)[0] - stem(picture)[0]).norm(dim=-1).view(4, 4)
    assert moved.sum(1).argmax() == 3
    assert moved[:, :2].sum() > moved[:, 2:].sum()


def test_conv_stem_gets_gradients_everywhere():
    model = TimeSformer(CONV)
    model(torch.randn(1, 4, 3, 32, 32)).cls.square().sum().backward()
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    without = [name for name, grad in grads.items() if grad is None or not grad.any()]
    assert without == []


def test_conv_stem_needs_a_power_of_two():
    with pytest.raises(ValueError, match="power of two, not 12"):
        TimeSformer(VisionConfig(image_size=48, patch_size=12, width=48, heads=2, layers=1, stem="conv"))


@torch.no_grad()
def test_exported_tower_gives_the_same(golden, tower):
    video = golden["in.video"].transpose(1, 2)[:1]
    program = torch.export.export(tower, (video,))
    assert_close(program.module()(video).tokens, tower(video).tokens)


@torch.no_grad()
def test_the_same_attention_composes_the_original_timesformer():
    """No prefix over time, a copy of CLS per frame in space, patch-major tokens, and the time output is kept."""
    golden = load_file(GOLDEN / "hf_timesformer_tiny.safetensors")
    frames, grid, heads = 4, 16, 4

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, golden[f"{name}.weight"], golden[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (48,), golden[f"{name}.weight"], golden[f"{name}.bias"], 1e-6)

    def attention(layer: Attention, name: str) -> Attention:
        names = {"qkv": "attention.qkv", "proj": "output.dense"}
        layer.load_state_dict(
            {f"{a}.{kind}": golden[f"{name}.{b}.{kind}"] for a, b in names.items() for kind in ("weight", "bias")}
        )
        return layer

    x = golden["out.hidden0"]
    for index in range(2):
        name = f"sd.encoder.layer.{index}"
        cls, patches = x[:, :1], x[:, 1:].unflatten(1, (grid, frames)).transpose(1, 2).flatten(1, 2)
        over_time = attention(DividedAttention(48, heads, "time"), f"{name}.temporal_attention")
        timed = over_time(norm(f"{name}.temporal_layernorm", patches), prefix=0, frames=frames)
        patches = patches + linear(f"{name}.temporal_dense", timed)
        per_frame = torch.cat([cls.repeat_interleave(frames, 0), patches.unflatten(1, (frames, grid)).flatten(0, 1)], 1)
        in_space = attention(Attention(48, heads), f"{name}.attention")(norm(f"{name}.layernorm_before", per_frame))
        in_space = in_space.unflatten(0, (2, frames))
        cls = cls + in_space[:, :, 0].mean(1, keepdim=True)
        patches = patches + in_space[:, :, 1:].flatten(1, 2)
        x = torch.cat([cls, patches.unflatten(1, (frames, grid)).transpose(1, 2).flatten(1, 2)], 1)
        hidden = F.gelu(linear(f"{name}.intermediate.dense", norm(f"{name}.layernorm_after", x)))
        x = x + linear(f"{name}.output.dense", hidden)
        assert_close(x, golden[f"out.hidden{index + 1}"])
    assert_close(norm("sd.layernorm", x), golden["out.last_hidden_state"])
