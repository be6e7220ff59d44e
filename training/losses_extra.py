"""Losses that go beyond the paper: off in the paper's recipe, ablated on the card of the weights that use them.

Shapes: `N` clips, `E` entities (slots), `V` nouns, `D` width, `I` instances (a box that a slot holds in a frame),
`h, w` grid.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.numerics import cosine, in_float32, mean_or_zero, normalize

_FLOOR = 1e-4
"""Floor of a probability under a logarithm: bounds the gradient without ever cutting it off."""


@in_float32
def slot_grounding_ce(
    entities: Tensor, clip: Tensor, slot: Tensor, noun: Tensor, dictionary: Tensor, temperature: float = 0.05
) -> Tensor:
    """A named noun must choose the slot that was matched to its box, among all slots of its clip.

    Patch tokens carry the noun everywhere, so without this any slot may answer to it.  Other boxes of the same noun
    (the second hand) are not set against each other.

    Args:
        entities: (N, E, D).
        clip: (I,) long clip of each named box.
        slot: (I,) long slot matched to the box.
        noun: (I,) long index into the dictionary.
        dictionary: (V, D).
        temperature: divides the cosine.

    Returns:
        Scalar mean over the named boxes; 0 without any.
    """
    logits = torch.einsum("ied,id->ie", normalize(entities)[clip], normalize(dictionary)[noun]) / temperature
    own = F.one_hot(slot, entities.shape[1]).bool()
    twins = (clip[:, None] == clip) & (noun[:, None] == noun)
    also_right = (twins.float() @ own.float() > 0) & ~own
    return mean_or_zero(F.cross_entropy(logits.masked_fill(also_right, -torch.inf), slot, reduction="none"))


@in_float32
def pooled_noun_nce(
    patches: Tensor,
    raster: Tensor,
    clip: Tensor,
    frame: Tensor,
    box: Tensor,
    noun: Tensor,
    dictionary: Tensor,
    temperature: float = 0.05,
) -> Tensor:
    """The global encoder's patches, averaged over a named box, must choose its noun from the dictionary.

    For towers trained from scratch: in the paper's setting LaViLa's pretraining has taught the patches what things are.

    Args:
        patches: (N, T, k, k, D) in the text space.
        raster: (N, T, M, k, k) part of each cell inside the box.
        clip: (I,) long clip of each named box.
        frame: (I,) long frame.
        box: (I,) long box.
        noun: (I,) long index into the dictionary.
        dictionary: (V, D).
        temperature: divides the cosine.

    Returns:
        Scalar mean over the boxes; 0 without any.
    """
    inside = raster.flatten(3).to(patches.dtype)
    mean = (inside @ patches.flatten(2, 3))[clip, frame, box]  # the length does not matter to a cosine
    return mean_or_zero(F.cross_entropy(cosine(mean, dictionary) / temperature, noun, reduction="none"))


@in_float32
def presence_nce(
    entities: Tensor, dictionary: Tensor, background: Tensor, taken: Tensor, temperature: float = 0.05
) -> Tensor:
    """A slot that holds no box must say "background", a slot that holds one (named or not) must say something else.

    Probabilities are a softmax over the dictionary and the background text; 1 - p(background) is the slot's presence.

    Args:
        entities: (N, E, D).
        dictionary: (V, D).
        background: (D,).
        taken: (N, E) bool, the slots that hold a box.
        temperature: divides the cosine.

    Returns:
        Scalar mean over all slots of -log p(background) or -log (1 - p(background)).
    """
    logits = cosine(entities, torch.cat([dictionary, background[None]])) / temperature
    something = logits[..., :-1].logsumexp(-1)
    score = torch.stack([logits[..., -1], something], -1)  # two classes: nothing, something
    return F.cross_entropy(score.flatten(0, 1), taken.flatten().long())


@in_float32
def box_fill_loss(masks: Tensor, boxes_as_masks: Tensor) -> Tensor:
    """Weak box supervision: nothing of the mask may lie outside its box (binary cross-entropy with 0).

    Cells count by the part that lies outside, and each instance is divided by its own outside area, so that small and
    large boxes weigh the same.

    Args:
        masks: (I, h, w) probability.
        boxes_as_masks: (I, h, w) part of each cell inside the box.

    Returns:
        (I,) loss.
    """
    outside = 1 - boxes_as_masks
    cost = -torch.log1p(-masks * (1 - _FLOOR))
    return (outside * cost).sum((1, 2)) / outside.sum((1, 2)).clamp_min(1.0)


@in_float32
def box_inside_loss(masks: Tensor, boxes_as_masks: Tensor, alone: Tensor) -> Tensor:
    """Weak box supervision: what lies in its box alone belongs to the mask, as far as looks allow.

    Box corners that show the ground are wrong labels, but ground looks the same outside, where `box_fill_loss` says so
    far more often; the projection loss alone is content with one cell in every row and column.

    Args:
        masks: (I, h, w) probability.
        boxes_as_masks: (I, h, w) part of each cell inside the box.
        alone: (I, h, w) part of each cell that no other box of the frame covers.

    Returns:
        (I,) mean over the cells of -log probability.
    """
    weight = boxes_as_masks * alone
    cost = -torch.log(masks * (1 - _FLOOR) + _FLOOR)
    return (weight * cost).sum((1, 2)) / weight.sum((1, 2)).clamp_min(1.0)


@in_float32
def pairwise_affinity_loss(
    masks: Tensor, colours: Tensor, boxes_as_masks: Tensor, colour_scale: float = 0.5, threshold: float = 0.3
) -> Tensor:
    """Neighbouring cells of similar colour belong together (BoxInst's pairwise term, on the patch grid).

    Edges join the eight neighbours; an edge counts when exp(-colour_scale * Lab distance) reaches the threshold and at
    least one of its ends lies in the box.

    It carves the background out of a filled box, from the edge inwards, and only beside `box_fill_loss`; on masks that
    are still undecided it freezes random patches.  Switch it on once the projection has settled.

    Args:
        masks: (I, h, w) probability.
        colours: (I, h, w, 3) Lab; see `patch_colours`.
        boxes_as_masks: (I, h, w) part of each cell inside the box.
        colour_scale: per unit of Lab distance.
        threshold: least similarity of an edge.

    Returns:
        (I,) mean over the edges of -log p(both ends alike); 0 where there is no edge.
    """
    inside = boxes_as_masks > 0.5
    h, w = masks.shape[1:]
    total, count = masks.new_zeros(len(masks)), masks.new_zeros(len(masks))
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (slice(None), slice(0, h - dy), slice(max(0, -dx), w - max(0, dx)))
        there = (slice(None), slice(dy, h), slice(max(0, dx), w - max(0, -dx)))
        a, b = masks[here], masks[there]
        similar = torch.exp(-colour_scale * (colours[here] - colours[there]).norm(dim=-1)) >= threshold
        edge = (similar & (inside[here] | inside[there])).to(masks.dtype)
        alike = a * b + (1 - a) * (1 - b)
        total = total - (edge * torch.log(alike * (1 - _FLOOR) + _FLOOR)).sum((1, 2))
        count = count + edge.sum((1, 2))
    return total / count.clamp_min(1.0)


@in_float32
def slot_consistency_nce(slots_a: Tensor, slots_b: Tensor, valid: Tensor, temperature: float = 0.1) -> Tensor:
    """A slot must find itself in the neighbouring window among all valid slots of the batch, both ways, averaged.

    Args:
        slots_a: (N, E, D) slots of one window.
        slots_b: (N, E, D) slots of its neighbour.
        valid: (N, E) bool, the slots that hold something in both.
        temperature: divides the cosine.

    Returns:
        Scalar; 0 when no slot is valid.
    """
    logits = cosine(slots_a[valid], slots_b[valid]) / temperature
    target = torch.arange(len(logits), device=logits.device)
    forth = F.cross_entropy(logits, target, reduction="none")
    back = F.cross_entropy(logits.T, target, reduction="none")
    return mean_or_zero(forth + back) / 2


@torch.no_grad()
@in_float32
def patch_colours(images: Tensor, height: int, width: int) -> Tensor:
    """Lab of each patch's mean colour.

    Args:
        images: (N, T, 3, H, W) RGB in 0..1; H and W are multiples of height and width.
        height: rows of the patch grid.
        width: columns of the patch grid.

    Returns:
        (N, T, height, width, 3).
    """
    rgb = F.adaptive_avg_pool2d(images.flatten(0, 1), (height, width))
    return rgb_to_lab(rgb.permute(0, 2, 3, 1).clamp(0, 1)).view(*images.shape[:2], height, width, 3)


@in_float32
def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Colours from sRGB (..., 3) in 0..1 to CIE Lab (D65): L in 0..100, a and b about -100..100."""
    linear = torch.where(rgb > 0.04045, ((rgb.clamp_min(0) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    to_xyz = rgb.new_tensor(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = linear @ to_xyz.T / rgb.new_tensor([0.95047, 1.0, 1.08883])
    f = torch.where(xyz > 216 / 24389, xyz.clamp_min(1e-6) ** (1 / 3), (24389 / 27 * xyz + 16) / 116)
    x, y, z = f.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)
