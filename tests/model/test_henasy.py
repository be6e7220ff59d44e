from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from henasy_stream.config import HenasyConfig, TextConfig, VisionConfig
from henasy_stream.model import Henasy
from henasy_stream.model.henasy import HenasyOutput, saliency

VISION = VisionConfig(image_size=24, patch_size=8, num_frames=3, width=12, layers=3, heads=2)
TINY = HenasyConfig(
    vision=VISION,
    text=TextConfig(vocab_size=50, context=7, width=8, layers=1, heads=2),
    embed_dim=6,
    entity_width=16,
    entity_heads=2,
    num_groups=5,
    num_entities=4,
    bootstrap_layers=2,
    grouping_layers=1,
    refine_layers=1,
    decoder_layers=1,
)
VARIANTS = {
    "paper": TINY,
    "average": dataclasses.replace(TINY, decoder="average"),
    "self-attention": dataclasses.replace(TINY, decoder="self_attention"),
    "no bootstrapping": dataclasses.replace(TINY, bootstrap_layers=0),
    "scaled dot": dataclasses.replace(TINY, similarity="scaled_dot"),
    "fine masks": dataclasses.replace(TINY, vision=dataclasses.replace(VISION, stem="conv"), fine_masks=True),
}
EVERY_VARIANT = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())


def model_of(config: HenasyConfig, seed: int = 0) -> Henasy:
    torch.manual_seed(seed)
    return Henasy(config).double().eval()


def clip_of(batch: int = 2, frames: int = 3, size: int = 24) -> Tensor:
    return torch.randn(batch, frames, 3, size, size).double()


def tensors_of(out: HenasyOutput) -> dict[str, Tensor]:
    found = {name: value for name, value in out._asdict().items() if isinstance(value, Tensor)}
    found["entity"] = out.entity.soft
    return found if out.boot is None else found | {"boot": out.boot.soft}


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@settings(max_examples=20, deadline=None)
@given(
    name=st.sampled_from(list(VARIANTS)),
    batch=st.integers(1, 2),
    frames=st.integers(1, 3),
    grid=st.integers(1, 3),
    entities=st.integers(1, 4),
    embed_dim=st.integers(1, 9),
)
@torch.no_grad()
def test_shapes_of_every_variant(name, batch, frames, grid, entities, embed_dim):
    config = VARIANTS[name]
    vision = dataclasses.replace(config.vision, image_size=8 * grid)
    config = dataclasses.replace(config, vision=vision, num_entities=entities, embed_dim=embed_dim)
    model = model_of(config)
    out = model(clip_of(batch, frames, 8 * grid))
    patches = grid**2
    assert out.video.shape == (batch, embed_dim)
    assert out.entities.shape == (batch, entities, embed_dim)
    assert out.per_frame.shape == (batch, frames, entities, 16)
    assert (out.boot is None) == (config.bootstrap_layers == 0)
    if out.boot is not None:
        assert out.boot.soft.shape == out.boot.hard.shape == (batch, frames, 5, patches)
    assert out.entity.soft.shape == out.entity.hard.shape
    assert out.entity.soft.shape[:3] == (batch, frames, entities)
    assert config.mask_grid == (2 * grid if config.fine_masks else grid)
    assert out.probability.shape == (batch, frames, config.mask_grid**2, entities)
    torch.testing.assert_close(out.probability.sum(-1), torch.ones(out.probability.shape[:3]).double())
    assert out.patches.shape == (batch, frames * patches, 12)
    assert out.cls.shape == (batch, 12)
    assert all(tensor.isfinite().all() for tensor in tensors_of(out).values())
    assert model.encode_text(torch.tensor([[48, 3, 49, 0], [48, 49, 0, 0]])).shape == (2, embed_dim)


@torch.no_grad()
def test_the_video_embedding_is_the_mean_of_the_entities():
    out = model_of(TINY)(clip_of())
    torch.testing.assert_close(out.video, out.entities.mean(1))
    assert not torch.allclose(out.entities[:, 0], out.entities[:, 1])


@torch.no_grad()
def test_the_towers_see_what_lavila_sees():
    model, video = model_of(TINY), clip_of()
    out, seen = model(video), model.towers.visual(video)
    assert torch.equal(out.patches, seen.hidden[-1][:, 1:])
    assert torch.equal(out.cls, seen.cls)
    ids = torch.tensor([[48, 3, 49]])
    assert torch.equal(model.encode_text(ids), model.towers.encode_text(ids))


@EVERY_VARIANT
@torch.no_grad()
def test_clips_of_a_batch_do_not_see_each_other(config):
    model, video = model_of(config), clip_of(3)
    together = tensors_of(model(video))
    for index in range(3):
        for name, alone in tensors_of(model(video[index : index + 1])).items():
            torch.testing.assert_close(alone[0], together[name][index], rtol=1e-9, atol=1e-9)


@EVERY_VARIANT
@torch.no_grad()
def test_frames_are_told_apart_by_the_temporal_embedding_alone(config):
    model, video = model_of(config), clip_of()
    order = torch.tensor([2, 0, 1])
    apart = (model(video).video - model(video[:, order]).video).abs().max()
    model.towers.visual.temporal_embed.zero_()
    out, again = model(video), model(video[:, order])
    assert apart > 1e-6
    torch.testing.assert_close(again.video, out.video, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(again.per_frame, out.per_frame[:, order], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(again.probability, out.probability[:, order], rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_evaluation_is_deterministic_and_training_draws_noise():
    model, video = model_of(TINY), clip_of()
    for name, tensor in tensors_of(model(video)).items():
        assert torch.equal(tensors_of(model(video))[name], tensor)
    model.train()
    assert not torch.equal(model(video).video, model(video).video)


@EVERY_VARIANT
def test_a_step_in_bfloat16_autocast_reaches_every_parameter(config):
    model = model_of(config).float().train()
    with torch.autocast("cpu", torch.bfloat16):
        out = model(clip_of().float())
        sentence = model.encode_text(torch.tensor([[48, 3, 49], [48, 5, 49]]))
        cosine = torch.nn.functional.cosine_similarity(out.video.float(), sentence.float())
        loss = cosine.sum() + sum(part.float().square().sum() for part in (out.probability, out.patches, out.cls))
    loss.backward()
    unused = ("towers.image_projection", "towers.logit_scale")  # LaViLa's own video embedding stays out
    for name, parameter in model.named_parameters():
        if not name.startswith(unused):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_another_picture_size_is_refused_and_both_are_named():
    with pytest.raises(ValueError, match=r"3x32x24 .* 3x24x24"):
        model_of(TINY)(torch.zeros(1, 3, 3, 32, 24).double())
    with pytest.raises(ValueError, match=r"1x24x24 .* 3x24x24"):
        model_of(TINY)(torch.zeros(1, 3, 1, 24, 24).double())


def test_more_frames_than_the_weights_know_are_refused():
    with pytest.raises(ValueError, match=r"4 frames .* 1 to 3 frames"):
        model_of(TINY)(clip_of(1, 4))


@EVERY_VARIANT
@torch.no_grad()
def test_an_exported_network_gives_the_same(config):
    model, video = model_of(config), clip_of(1)
    exported: Any = torch.export.export(model, (video,)).module()
    for name, tensor in tensors_of(exported(video)).items():
        torch.testing.assert_close(tensor, tensors_of(model(video))[name], rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_saliency_is_a_softmax_over_the_patches_of_a_frame():
    probability = torch.rand(2, 3, 9, 4)
    picture = saliency(probability)
    assert picture.shape == probability.shape
    torch.testing.assert_close(picture.sum(2), torch.ones(2, 3, 4))
    expected = probability.exp() / probability.exp().sum(2, keepdim=True)
    torch.testing.assert_close(picture, expected)
    assert saliency(probability.to(torch.bfloat16)).dtype == torch.float32
    assert saliency(probability.double()).dtype == torch.float64


@pytest.fixture(scope="module")
def base() -> Henasy:
    with torch.device("meta"):
        return Henasy(HenasyConfig.base())


def test_the_paper_size_has_the_towers_of_lavila_and_a_rest_that_fits_the_paper(base):
    """The paper counts 291 M in all and leaves open what its own part is made up of; ours has 238 M in all."""
    assert count(base.towers.visual) == 114_169_344
    assert count(base.towers.text) == 63_165_952
    assert count(base.entity_encoder) == 47_201_280
    assert count(base.entity_decoder) == 13_403_136
    assert 0.8 < count(base) / 291e6 < 1


@torch.no_grad()
def test_the_paper_size_gives_the_paper_shapes(base):
    out = base.eval()(torch.empty(1, 4, 3, 224, 224, device="meta"))
    assert out.video.shape == (1, 256)
    assert out.entities.shape == (1, 8, 256)
    assert out.per_frame.shape == (1, 4, 8, 512)
    assert out.boot.soft.shape == (1, 4, 64, 196)
    assert out.entity.soft.shape == (1, 4, 8, 64)
    assert out.probability.shape == (1, 4, 196, 8)
    assert out.patches.shape == (1, 784, 768)
