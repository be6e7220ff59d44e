from __future__ import annotations

import dataclasses

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from henasy_stream.config import (
    HenasyConfig,
    PreprocessConfig,
    StreamConfig,
    TextConfig,
    VisionConfig,
    VocabularyConfig,
)

EVERY_KIND = (VisionConfig, TextConfig, PreprocessConfig, VocabularyConfig, HenasyConfig, StreamConfig)


def test_base_is_the_size_of_the_paper_on_lavila():
    base = HenasyConfig.base()
    vision, text = base.vision, base.text
    assert (vision.image_size, vision.patch_size, vision.num_frames) == (224, 16, 4)
    assert (vision.width, vision.layers, vision.heads, vision.stem, vision.grid) == (768, 12, 12, "patch", 14)
    assert (text.vocab_size, text.context, text.width, text.layers, text.heads) == (49408, 77, 512, 12, 8)
    assert (base.embed_dim, base.entity_width, base.entity_heads) == (256, 512, 8)
    assert (base.num_groups, base.num_entities) == (64, 8)
    assert (base.bootstrap_layers, base.grouping_layers, base.refine_layers, base.decoder_layers) == (6, 3, 3, 3)
    assert (base.decoder, base.similarity, base.fine_masks, base.temperature) == ("entity", "scaled_dot", False, 0.05)
    assert base.preprocess.mean == (108.3272985, 116.7460125, 104.09373615)
    assert base.preprocess.std == (68.5005327, 66.6321579, 70.32316305)


def test_demo_fits_a_wheel():
    demo = HenasyConfig.demo()
    assert demo.vision.num_frames == 4
    assert demo.mask_grid == 2 * demo.vision.grid == 2 * demo.vision.image_size // demo.vision.patch_size
    embedding = demo.text.vocab_size * demo.text.width * 2  # bytes in half precision
    assert embedding < 10e6


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_configs_are_frozen_and_keyword_only(kind):
    config = kind()
    name = dataclasses.fields(kind)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, name, getattr(config, name))
    with pytest.raises(TypeError):
        kind(getattr(config, name))
    assert hash(config) == hash(kind())


@pytest.mark.parametrize("config", [HenasyConfig.base(), HenasyConfig.demo(), StreamConfig(hop=2, span_s=0.5)])
def test_configs_survive_json(config):
    assert msgspec.json.decode(msgspec.json.encode(config), type=type(config)) == config


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: VisionConfig(image_size=225), "image_size 225 is not a multiple of patch_size 16"),
        (lambda: VisionConfig(width=100, heads=12), "width 100 is not a multiple of heads 12"),
        (lambda: VisionConfig(num_frames=0), "num_frames must be at least 1, not 0"),
        (lambda: VisionConfig(patch_size=0), "patch_size must be at least 1, not 0"),
        (lambda: TextConfig(width=100, heads=8), "width 100 is not a multiple of heads 8"),
        (lambda: TextConfig(heads=-4), "heads must be at least 1, not -4"),
        (lambda: HenasyConfig(bootstrap_layers=13), "bootstrap_layers 13 exceeds the 12 vision layers"),
        (lambda: HenasyConfig(entity_width=500), "entity_width 500 is not a multiple of entity_heads 8"),
        (lambda: HenasyConfig(num_entities=0), "num_entities must be at least 1, not 0"),
        (lambda: HenasyConfig(fine_masks=True), "fine_masks needs"),
        (
            lambda: HenasyConfig(vision=VisionConfig(stem="conv"), bootstrap_layers=0, fine_masks=True),
            "fine_masks needs",
        ),
    ],
)
def test_sizes_that_cannot_be_are_refused_with_their_values(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@given(patch=st.integers(1, 32), grid=st.integers(1, 40), fine=st.booleans())
def test_mask_grid_counts_patches_or_half_patches(patch, grid, fine):
    vision = VisionConfig(image_size=patch * grid, patch_size=patch, stem="conv")
    assert vision.grid == grid
    assert HenasyConfig(vision=vision, fine_masks=fine).mask_grid == (2 * grid if fine else grid)
