from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from training.losses import projection_loss
from training.losses_extra import (
    box_fill_loss,
    pairwise_affinity_loss,
    patch_colours,
    presence_nce,
    rgb_to_lab,
    slot_consistency_nce,
    slot_grounding_ce,
)
from training.rasters import box_masks


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_slot_grounding_is_cross_entropy_over_the_slots_of_the_clip() -> None:
    entities, dictionary = torch.randn(2, 4, 8), torch.randn(5, 8)
    logits = F.cosine_similarity(entities[1], dictionary[3][None]) / 0.05
    loss = slot_grounding_ce(entities, torch.tensor([1]), torch.tensor([2]), torch.tensor([3]), dictionary)
    torch.testing.assert_close(loss, -logits.log_softmax(0)[2])


def test_slot_grounding_does_not_set_two_hands_against_each_other() -> None:
    hand = torch.eye(1, 8)
    entities = torch.eye(8)[[0, 0, 1, 2]][None].clone()  # slots 0 and 1 both look like the hand
    both = slot_grounding_ce(entities, torch.tensor([0, 0]), torch.tensor([0, 1]), torch.tensor([0, 0]), hand)
    alone = slot_grounding_ce(entities, torch.tensor([0]), torch.tensor([0]), torch.tensor([0]), hand)
    assert both < 1e-6
    assert alone == pytest.approx(np.log(2), abs=1e-4)


def test_presence_is_the_probability_of_anything_but_background() -> None:
    entities, dictionary, background = torch.randn(1, 2, 8), torch.randn(5, 8), torch.randn(8)
    words = torch.cat([dictionary, background[None]])
    p = torch.stack([(F.cosine_similarity(e[None], words) / 0.05).softmax(0)[-1] for e in entities[0].double()])
    loss = presence_nce(entities, dictionary, background, torch.tensor([[True, False]]))
    torch.testing.assert_close(loss.double(), (-(1 - p[0]).log() - p[1].log()) / 2, rtol=1e-4, atol=1e-4)


def test_box_fill_costs_only_what_lies_outside() -> None:
    box = box_masks(torch.tensor([[2.0, 2.0, 5.0, 6.0]]), 8, 8)
    assert box_fill_loss(box, box) == 0
    half_outside = torch.full((1, 8, 8), 0.5)
    torch.testing.assert_close(box_fill_loss(half_outside, box), torch.tensor([0.6931]), rtol=0, atol=1e-3)
    assert torch.isfinite(box_fill_loss(torch.ones(1, 8, 8), torch.ones(1, 8, 8))).all()


def test_slot_consistency_wants_each_slot_to_find_itself() -> None:
    slots, valid = torch.randn(3, 4, 32), torch.ones(3, 4, dtype=torch.bool)
    valid[1, 2] = False
    same = slot_consistency_nce(slots, slots, valid)
    swapped = slot_consistency_nce(slots, slots.roll(1, 1), valid)
    assert same < 0.1 < 5 < swapped
    noise = slots.clone()
    noise[1, 2] = 100 * torch.randn(32)
    torch.testing.assert_close(slot_consistency_nce(slots, noise, valid), same)
    assert slot_consistency_nce(slots, slots, torch.zeros_like(valid)) == 0


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
    ],
)
def test_lab_of_known_colours(rgb: tuple[float, ...], lab: tuple[float, ...]) -> None:
    torch.testing.assert_close(rgb_to_lab(torch.tensor(rgb).float()), torch.tensor(lab).float(), rtol=0, atol=0.05)


def test_patch_colours_average_within_the_patch() -> None:
    image = torch.zeros(1, 2, 3, 8, 8)
    image[0, 1, 0, :4, 4:] = 1.0
    colours = patch_colours(image, 2, 2)
    assert colours.shape == (1, 2, 2, 2, 3)
    torch.testing.assert_close(colours[0, 1, 0, 1], torch.tensor([53.24, 80.09, 67.20]), rtol=0, atol=0.05)
    assert colours[0, 0].abs().max() < 1e-3


def fitted_iou(shape: Tensor, *, fill: float, affinity: float) -> float:
    """IoU with `shape` (12, 12) of a mask that starts as its box and descends on the losses."""
    torch.manual_seed(0)
    rows, columns = shape.amax(1).nonzero()[:, 0], shape.amax(0).nonzero()[:, 0]
    edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    box = box_masks(torch.stack(edges).float()[None], 12, 12)
    rgb = torch.where(shape[..., None] > 0.5, torch.tensor([0.8, 0.2, 0.2]), torch.tensor([0.3, 0.5, 0.3]))
    colours = rgb_to_lab(rgb + 0.004 * torch.randn(12, 12, 3))[None]
    logits = (2 * box - 1 + 0.1 * torch.randn_like(box)).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(300):
        mask = logits.sigmoid()
        loss = projection_loss(mask, box)
        loss = loss + fill * box_fill_loss(mask, box) + affinity * pairwise_affinity_loss(mask, colours, box)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
    found, true = logits[0] > 0, shape > 0.5
    return float((found & true).sum() / (found | true).sum())


def diamond() -> Tensor:
    y, x = torch.meshgrid(torch.arange(12) - 5.5, torch.arange(12) - 5.5, indexing="ij")
    return (x.abs() + y.abs() <= 5).float()


def angle() -> Tensor:
    shape = torch.zeros(12, 12)
    shape[2:10, 2:5] = 1
    shape[7:10, 2:11] = 1
    return shape


@pytest.mark.parametrize(("shape", "least"), [(diamond(), 0.95), (angle(), 0.65)], ids=["diamond", "angle"])
def test_colour_affinity_carves_out_a_shape_that_the_box_alone_leaves_full(shape: Tensor, least: float) -> None:
    for fill in (0.0, 1.0):
        assert fitted_iou(shape, fill=fill, affinity=0) < 0.62
    assert fitted_iou(shape, fill=1, affinity=1) > least


def test_colour_affinity_needs_the_fill_beside_it() -> None:
    assert fitted_iou(diamond(), fill=0, affinity=1) < 0.5
