from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from henasy_stream.config import HenasyConfig, VisionConfig
from henasy_stream.model.entity_encoder import Entities, EntityEncoder, patches_of

VISION = VisionConfig(image_size=24, patch_size=8, num_frames=3, width=12, layers=4, heads=2)
TINY = HenasyConfig(
    vision=VISION,
    entity_width=16,
    entity_heads=2,
    num_groups=5,
    num_entities=3,
    bootstrap_layers=2,
    grouping_layers=2,
    refine_layers=1,
)
NO_BOOTSTRAP = dataclasses.replace(TINY, bootstrap_layers=0)
FINE = dataclasses.replace(TINY, vision=dataclasses.replace(VISION, stem="conv"), fine_masks=True)
VARIANTS = pytest.mark.parametrize("config", [TINY, NO_BOOTSTRAP, FINE], ids=["paper", "no bootstrapping", "fine"])
T, K = 3, 9


def encoder_of(config: HenasyConfig, seed: int = 0) -> EntityEncoder:
    torch.manual_seed(seed)
    return EntityEncoder(config).double().eval()


def hidden_of(config: HenasyConfig, batch: int = 2, frames: int = T) -> tuple[Tensor, ...]:
    length = 1 + frames * config.vision.grid**2
    return tuple(torch.randn(batch, length, config.vision.width).double() for _ in range(config.vision.layers + 1))


def fine_of(config: HenasyConfig, batch: int = 2, frames: int = T) -> Tensor | None:
    if not config.fine_masks:
        return None
    side = 2 * config.vision.grid
    return torch.randn(batch, frames, config.vision.fine_channels, side, side).double()


def assert_same(a: Entities, b: Entities) -> None:
    for left, right in ((a.per_frame, b.per_frame), (a.pooled, b.pooled), (a.probability, b.probability)):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(a.entity.soft, b.entity.soft, rtol=1e-9, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(
    batch=st.integers(1, 2),
    frames=st.integers(1, 3),
    grid=st.integers(1, 3),
    groups=st.integers(1, 6),
    entities=st.integers(1, 5),
    layers=st.tuples(*(st.integers(0, 2),) * 3),
    fine=st.booleans(),
    training=st.booleans(),
)
def test_shapes_and_probabilities_of_any_size(batch, frames, grid, groups, entities, layers, fine, training):
    bootstrap, grouping, refine = layers
    fine = fine and bootstrap > 0
    vision = dataclasses.replace(VISION, image_size=8 * grid, stem="conv" if fine else "patch")
    config = dataclasses.replace(
        TINY,
        vision=vision,
        num_groups=groups,
        num_entities=entities,
        bootstrap_layers=bootstrap,
        grouping_layers=grouping,
        refine_layers=refine,
        fine_masks=fine,
    )
    seen = encoder_of(config).train(training)(hidden_of(config, batch, frames), frames, fine_of(config, batch, frames))
    cells = grid**2
    segments = groups if bootstrap else cells
    assert seen.per_frame.shape == (batch, frames, entities, 16)
    assert torch.equal(seen.pooled, seen.per_frame.mean(1))
    assert seen.entity.soft.shape == seen.entity.hard.shape == (batch, frames, entities, segments)
    assert (seen.boot is None) == (bootstrap == 0)
    if seen.boot is not None:
        assert seen.boot.soft.shape == seen.boot.hard.shape == (batch, frames, groups, cells)
    assert seen.probability.shape == (batch, frames, 4 * cells if fine else cells, entities)
    assert (seen.probability >= 0).all()
    torch.testing.assert_close(seen.probability.sum(-1), torch.ones(seen.probability.shape[:3]).double())


@torch.no_grad()
def test_probability_is_the_product_of_both_assignments():
    seen = encoder_of(TINY)(hidden_of(TINY), T)
    assert seen.boot is not None
    for b, t, k, e in ((0, 0, 0, 0), (1, 2, 8, 1), (0, 1, 4, 2)):
        expected = sum(seen.boot.soft[b, t, g, k] * seen.entity.soft[b, t, e, g] for g in range(5))
        torch.testing.assert_close(seen.probability[b, t, k, e], expected)


@torch.no_grad()
def test_without_bootstrapping_a_patch_is_its_own_segment():
    seen = encoder_of(NO_BOOTSTRAP)(hidden_of(NO_BOOTSTRAP), T)
    assert torch.equal(seen.probability, seen.entity.soft.transpose(-1, -2))


@torch.no_grad()
@pytest.mark.parametrize(
    ("config", "read"), [(TINY, {0, 1, 2}), (NO_BOOTSTRAP, {4})], ids=["paper", "no bootstrapping"]
)
def test_the_depths_that_are_read_are_those_of_the_paper(config, read):
    """Eq. 2 and 3: layer l of the bootstrapping reads z^l, the grouping after S1 layers reads z^S1, nothing deeper."""
    encoder, hidden = encoder_of(config), hidden_of(config)
    before = encoder(hidden, T).per_frame
    for depth in range(len(hidden)):
        changed = list(hidden)
        changed[depth] = torch.randn_like(hidden[depth])
        assert torch.equal(encoder(tuple(changed), T).per_frame, before) == (depth not in read)


@VARIANTS
@torch.no_grad()
def test_the_video_token_is_not_read(config):
    encoder, hidden, fine = encoder_of(config), hidden_of(config), fine_of(config)
    before = encoder(hidden, T, fine)
    for tokens in hidden:
        tokens[:, 0] = 100.0
    assert_same(encoder(hidden, T, fine), before)


def test_patches_follow_the_video_token():
    tokens = torch.randn(2, 1 + T * K, 4)
    assert torch.equal(patches_of(tokens), tokens[:, 1:])


@VARIANTS
@torch.no_grad()
def test_clips_of_a_batch_do_not_see_each_other(config):
    encoder, hidden, fine = encoder_of(config), hidden_of(config), fine_of(config)
    together = encoder(hidden, T, fine)
    for index in range(2):
        one = slice(index, index + 1)
        alone = encoder(tuple(tokens[one] for tokens in hidden), T, None if fine is None else fine[one])
        torch.testing.assert_close(alone.per_frame, together.per_frame[one], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(alone.probability, together.probability[one], rtol=1e-9, atol=1e-9)


@VARIANTS
@torch.no_grad()
def test_frames_in_another_order_give_the_same_entities(config):
    """The stage has no position of its own: what it knows of time is in the tokens."""
    encoder, hidden, fine = encoder_of(config), hidden_of(config), fine_of(config)
    order = torch.tensor([2, 0, 1])
    moved = tuple(
        torch.cat([tokens[:, :1], tokens[:, 1:].unflatten(1, (T, K))[:, order].flatten(1, 2)], 1) for tokens in hidden
    )
    seen, again = encoder(hidden, T, fine), encoder(moved, T, None if fine is None else fine[:, order])
    torch.testing.assert_close(again.per_frame, seen.per_frame[:, order], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(again.probability, seen.probability[:, order], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(again.pooled, seen.pooled, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_entities_follow_their_learned_query():
    encoder, hidden = encoder_of(TINY), hidden_of(TINY)
    seen = encoder(hidden, T)
    order = torch.tensor([1, 2, 0])
    encoder.entity_tokens.copy_(encoder.entity_tokens[order].clone())
    again = encoder(hidden, T)
    torch.testing.assert_close(again.per_frame, seen.per_frame[:, :, order], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(again.probability, seen.probability[..., order], rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_evaluation_is_deterministic_and_training_is_not():
    encoder, hidden = encoder_of(TINY), hidden_of(TINY)
    assert_same(encoder(hidden, T), encoder(hidden, T))
    encoder.train()
    first, second = encoder(hidden, T), encoder(hidden, T)
    assert not torch.equal(first.per_frame, second.per_frame)
    assert first.boot is not None
    assert second.boot is not None
    assert torch.equal(first.boot.soft, second.boot.soft)


@VARIANTS
def test_every_parameter_learns(config):
    encoder = encoder_of(config).train()
    seen = encoder(hidden_of(config), T, fine_of(config))
    (seen.pooled.square().sum() + seen.probability.square().sum()).backward()
    without = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@VARIANTS
def test_bfloat16_autocast_gives_finite_values_and_gradients(config):
    encoder = encoder_of(config).float().train()
    fine = fine_of(config)
    with torch.autocast("cpu", torch.bfloat16):
        seen = encoder(tuple(t.float() for t in hidden_of(config)), T, None if fine is None else fine.float())
        loss = seen.pooled.float().square().sum() + seen.probability.float().square().sum()
    loss.backward()
    torch.testing.assert_close(
        seen.probability.float().sum(-1), torch.ones(seen.probability.shape[:3]), rtol=0, atol=0.02
    )
    for parameter in encoder.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@torch.no_grad()
def test_fine_masks_place_each_cell_where_the_stem_saw_it():
    encoder, hidden, fine = encoder_of(FINE), hidden_of(FINE), fine_of(FINE)
    assert fine is not None
    before = encoder(hidden, T, fine).probability.unflatten(2, (6, 6))
    fine[1, 2, :, 4, 1] += 3.0
    moved = (encoder(hidden, T, fine).probability.unflatten(2, (6, 6)) - before).abs().sum(-1)
    assert moved.nonzero().tolist() == [[1, 2, 4, 1]]


@torch.no_grad()
def test_fine_masks_lie_over_their_patches():
    """Where the stem adds nothing, a patch that differs from all others shows in its own four cells most."""
    encoder, hidden = encoder_of(FINE), hidden_of(FINE, 1)
    assert encoder.fine_key is not None
    encoder.fine_key.weight.zero_()
    encoder.fine_key.bias.zero_()
    fine = fine_of(FINE, 1)
    assert fine is not None
    hidden[2][:, 1:] = hidden[2][:, 1:2]
    flat = encoder(hidden, T, fine)
    assert flat.boot is not None
    coarse = flat.boot.soft.transpose(-1, -2) @ flat.entity.soft.transpose(-1, -2)
    torch.testing.assert_close(flat.probability, coarse[:, :, :1].expand_as(flat.probability))
    hidden[2][:, 1 + 1 * K + 2 * 3 + 1] = torch.randn(12).double()  # frame 1, row 2, column 1 of the patches
    cells = encoder.fine(
        encoder.group_tokens.expand(1, -1, -1),
        encoder.patch_projection(patches_of(hidden[2])).unflatten(1, (T, K)),
        fine,
    ).transpose(-1, -2)
    moved = (cells - cells[:, 0:1, 0:1]).abs().sum(-1)[0].unflatten(1, (6, 6))
    assert moved[0].max() < 1e-9
    assert sorted(moved[1].flatten().topk(4).indices.tolist()) == [4 * 6 + 2, 4 * 6 + 3, 5 * 6 + 2, 5 * 6 + 3]


@torch.no_grad()
def test_without_fine_masks_the_stem_is_not_asked():
    config = dataclasses.replace(FINE, fine_masks=False)
    encoder, hidden = encoder_of(config), hidden_of(config)
    assert_same(encoder(hidden, T, fine_of(FINE)), encoder(hidden, T))
