"""The four losses of the paper (4.4) as pure functions, and the registry that a recipe weighs by name.

A recipe is `{"ego": 1.0, "noun_entity": 0.5, …}`.  Losses that go beyond the paper live in `training.losses_extra`,
HelpingHands' variants in `training.losses_helpinghands`; both stand in the same registry and are off in the paper's
recipe.

Shapes: `N` clips, `T` frames, `h, w` mask grid, `E` entities (slots), `M` boxes, `V` nouns of the dictionary, `D` width
of the joint embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from training import losses_extra as extra
from training.losses_helpinghands import ego_nce_mean_log, word_contrastive
from training.matching import BoxMatch, match_boxes, match_nouns
from training.numerics import cosine, in_float32, mean_or_zero, normalize
from training.rasters import box_masks

TEMPERATURE = 0.05
PositiveMode = Literal["noun_and_verb", "noun_only", "verb_only", "identity"]


def positive_mask(noun_vec: Tensor, verb_vec: Tensor, mode: PositiveMode = "noun_and_verb") -> Tensor:
    """Which clips are positives of each other: those that share a tag, and each clip of itself.

    Args:
        noun_vec: (N, nouns) multi-hot.
        verb_vec: (N, verbs) multi-hot.
        mode: the tags that must be shared; "identity" is plain InfoNCE.

    Returns:
        (N, N) bool, symmetric, with a true diagonal.
    """
    noun, verb = noun_vec.float(), verb_vec.float()
    same = torch.eye(len(noun), dtype=torch.bool, device=noun.device)
    shared_noun, shared_verb = noun @ noun.T > 0, verb @ verb.T > 0
    if mode == "noun_and_verb":
        return same | (shared_noun & shared_verb)
    if mode == "noun_only":
        return same | shared_noun
    if mode == "verb_only":
        return same | shared_verb
    return same


@in_float32
def multi_positive_nce(similarity: Tensor, positives: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Mean over rows of -log of the softmax mass on the positives (EgoVLP, the paper's Eq. 1), as log-sum-exp.

    Args:
        similarity: (R, C) cosine.
        positives: (R, C) bool, at least one a row.
        temperature: divides the cosine.

    Returns:
        Scalar.
    """
    logits = similarity / temperature
    positive = logits.masked_fill(~positives, -torch.inf)
    return mean_or_zero(logits.logsumexp(1) - positive.logsumexp(1))


@in_float32
def ego_nce(text: Tensor, video: Tensor, positives: Tensor, temperature: float = TEMPERATURE) -> tuple[Tensor, Tensor]:
    """EgoNCE (Eq. 1); the paper adds the two directions.

    Args:
        text: (N, D) narration embeddings, any length.
        video: (N, D) video embeddings, any length.
        positives: (N, N) bool of `positive_mask`.
        temperature: divides the cosine.

    Returns:
        (loss video to text, loss text to video), scalars.
    """
    similarity = cosine(text, video)
    return (
        multi_positive_nce(similarity.T, positives.T, temperature),
        multi_positive_nce(similarity, positives, temperature),
    )


@in_float32
def noun_entity_nce(
    entities: Tensor,
    clip: Tensor,
    slot: Tensor,
    noun: Tensor,
    dictionary: Tensor,
    temperature: float = TEMPERATURE,
) -> Tensor:
    """NEC (Eq. 7): each matched entity must choose its noun among all nouns of the dictionary.

    Args:
        entities: (N, E, D).
        clip: (I,) long clip of each match.
        slot: (I,) long entity of each match.
        noun: (I,) long index into the dictionary of each match.
        dictionary: (V, D).
        temperature: divides the cosine.

    Returns:
        Scalar mean over the matches; 0 without any.
    """
    logits = cosine(entities[clip, slot], dictionary) / temperature
    return mean_or_zero(F.cross_entropy(logits, noun, reduction="none"))


@in_float32
def verb_entities_nce(entities: Tensor, verbs: Tensor, positives: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """VEC (Eq. 8): the entities, averaged by how well they fit the phrase, against the phrases of the batch.

    The paper leaves the scale of the weights open: softmax over entities of cosine / temperature, and the mean is taken
    over L2-normalised entities.

    Args:
        entities: (N, E, D).
        verbs: (N, D) embedding of each clip's verb phrase.
        positives: (N, N) bool of `positive_mask`.
        temperature: divides both cosines.

    Returns:
        Scalar.
    """
    unit = normalize(entities)
    weight = torch.einsum("ned,nd->ne", unit, normalize(verbs)).div(temperature).softmax(1)
    average = torch.einsum("ne,ned->nd", weight, unit)
    return multi_positive_nce(cosine(average, verbs), positives, temperature)


@in_float32
def projection_loss(masks: Tensor, boxes_as_masks: Tensor) -> Tensor:
    """Box supervision of masks (Eq. 9, BoxInst's projection term): dice of the max-projections on x and on y.

    An instance whose box and mask are both empty would cost 2: leave such instances out.

    Args:
        masks: (I, h, w) probability.
        boxes_as_masks: (I, h, w) in 0..1.

    Returns:
        (I,) loss in 0..2.
    """

    def dice(axis: int) -> Tensor:
        # max, not amax: a tie then sends its gradient to one cell, as in the reference
        x, y = masks.max(axis).values, boxes_as_masks.max(axis).values
        return 1 - 2 * (x * y).sum(1) / ((x * x).sum(1) + (y * y).sum(1) + 1e-5)

    return dice(1) + dice(2)


@dataclass(frozen=True, kw_only=True, eq=False)
class LossInputs:
    """Everything that some loss needs of one batch; a field may be None when no loss of the recipe reads it.

    video, text: (N, D).  verbs: (N, D) verb-phrase embeddings.  positives: (N, N) bool.  entities: (N, E, D).
    masks: (N, T, h, w, E) probability of the entity given the patch.
    boxes: (N, T, M, 4) x0, y0, x1, y1 in 0..1 of the model's square, NaN where absent; box m is one object throughout.
    box_noun: (N, M) long index into `dictionary` (hands have their own); below 0 where the narration names no noun.
    dictionary: (V, D).  background: (D,) embedding of the text for "nothing".
    match: the slot of each box; matched on the masks alone when None: over the clip, or `per_frame` (paper Eq. 9),
    where box m need not be one object throughout.
    nouns: (N, K) long nouns of the narration, below 0 for padding; None: those of `box_noun`.
    images: (N, T, 3, H, W) normalised RGB; H and W are multiples of h and w.
    pixel_mean, pixel_std: (3,) how `images` were normalised, on the 0..255 scale.
    tower: (N, D) video embedding of the global encoder itself (its video token, projected).
    patches: (N, T, k, k, D) its patch tokens through the same projection.
    neighbour_entities: (N, E, D) the slots of a neighbouring window of the same clip; of a causal network those of the
    frame before.
    neighbour_valid: (N, E) bool, the slots that hold something in both windows; None: those that hold a box.
    """

    video: Tensor
    text: Tensor
    positives: Tensor
    verbs: Tensor | None = None
    entities: Tensor | None = None
    masks: Tensor | None = None
    boxes: Tensor | None = None
    box_noun: Tensor | None = None
    dictionary: Tensor | None = None
    background: Tensor | None = None
    match: BoxMatch | None = None
    per_frame: bool = False
    nouns: Tensor | None = None
    images: Tensor | None = None
    pixel_mean: Tensor | None = None
    pixel_std: Tensor | None = None
    tower: Tensor | None = None
    patches: Tensor | None = None
    neighbour_entities: Tensor | None = None
    neighbour_valid: Tensor | None = None
    temperature: float = TEMPERATURE

    def need(self, name: str) -> Tensor:
        """The field `name`; ValueError when the batch lacks it."""
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"this loss needs LossInputs.{name}, which the batch does not have")
        return value

    @cached_property
    def matched(self) -> BoxMatch:
        """`match`, computed when it was not given."""
        return self.match or match_boxes(self.need("masks"), self.need("boxes"), per_frame=self.per_frame)

    @cached_property
    def named(self) -> tuple[Tensor, Tensor, Tensor]:
        """(clip, slot, noun) of every named box that has a slot, each (I,) long."""
        slot, noun = self.matched.slot, self.need("box_noun")
        clip, m = ((slot >= 0) & (noun >= 0)).nonzero(as_tuple=True)
        return clip, slot[clip, m], noun[clip, m]

    @cached_property
    def narrated(self) -> Tensor:
        """(N, K) long nouns of the narration, below 0 for padding."""
        return self.need("box_noun") if self.nouns is None else self.nouns

    @cached_property
    def instances(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(clip (I,), frame (I,), mask (I, h, w), box raster (I, h, w)) of every box that a slot holds in a frame."""
        masks, slot = self.need("masks"), self.matched.frame_slot
        h, w = masks.shape[2:4]
        clip, frame, m = (slot >= 0).nonzero(as_tuple=True)
        boxes = self.need("boxes")[clip, frame, m].float()
        raster = box_masks(boxes * boxes.new_tensor([w, h, w, h]), h, w)
        return clip, frame, masks[clip, frame, :, :, slot[clip, frame, m]], raster


def _noun_entity(x: LossInputs) -> Tensor:
    entities, dictionary, nouns = x.need("entities"), x.need("dictionary"), x.narrated
    similarity = cosine(dictionary.float()[nouns.clamp_min(0)], entities.float())
    slot = match_nouns(similarity, nouns >= 0)
    clip, k = (slot >= 0).nonzero(as_tuple=True)
    return noun_entity_nce(entities, clip, slot[clip, k], nouns[clip, k], dictionary, x.temperature)


def _verb_entities(x: LossInputs) -> Tensor:
    return verb_entities_nce(x.need("entities"), x.need("verbs"), x.positives, x.temperature)


def _box_inside(x: LossInputs) -> Tensor:
    clip, frame, masks, raster = x.instances
    h, w = masks.shape[1:]
    boxes = x.need("boxes").float()
    covered = box_masks(boxes * boxes.new_tensor([w, h, w, h]), h, w).sum(2)[clip, frame]
    return mean_or_zero(extra.box_inside_loss(masks, raster, (1 - (covered - raster)).clamp(0, 1)))


def _pairwise_affinity(x: LossInputs) -> Tensor:
    clip, frame, masks, raster = x.instances
    images = x.need("images") * x.need("pixel_std").view(3, 1, 1) + x.need("pixel_mean").view(3, 1, 1)
    colours = extra.patch_colours(images / 255, *masks.shape[1:])
    return mean_or_zero(extra.pairwise_affinity_loss(masks, colours[clip, frame], raster))


def _presence(x: LossInputs) -> Tensor:
    entities = x.need("entities")
    taken = x.matched.taken(entities.shape[1])
    return extra.presence_nce(entities, x.need("dictionary"), x.need("background"), taken, x.temperature)


def _tower_nouns(x: LossInputs) -> Tensor:
    patches, boxes, noun = x.need("patches"), x.need("boxes").float(), x.need("box_noun")
    clip, frame, m = (boxes.isfinite().all(-1) & (noun >= 0)[:, None]).nonzero(as_tuple=True)
    k = patches.shape[2]
    raster = box_masks(boxes * k, k, k)
    return extra.pooled_noun_nce(patches, raster, clip, frame, m, noun[clip, m], x.need("dictionary"), x.temperature)


def _tower_ego(x: LossInputs) -> Tensor:
    return sum(ego_nce(x.text, x.need("tower"), x.positives, x.temperature), x.video.new_zeros(()))


def _slot_consistency(x: LossInputs) -> Tensor:
    entities = x.need("entities")
    valid = x.matched.taken(entities.shape[1]) if x.neighbour_valid is None else x.neighbour_valid
    return extra.slot_consistency_nce(entities, x.need("neighbour_entities"), valid)


PAPER_LOSSES = ("ego", "noun_entity", "verb_entities", "projection")

LOSSES: dict[str, Callable[[LossInputs], Tensor]] = {
    "ego": lambda x: sum(ego_nce(x.text, x.video, x.positives, x.temperature), x.video.new_zeros(())),
    "noun_entity": _noun_entity,
    "verb_entities": _verb_entities,
    "projection": lambda x: mean_or_zero(projection_loss(*x.instances[2:])),
    # HelpingHands' variants
    "ego_mean_log": lambda x: ego_nce_mean_log(x.text, x.video, x.positives),
    "word_contrastive": lambda x: word_contrastive(x.need("entities"), x.narrated, x.need("dictionary")),
    # beyond the paper
    "noun_entity_box": lambda x: noun_entity_nce(x.need("entities"), *x.named, x.need("dictionary"), x.temperature),
    "slot_grounding": lambda x: extra.slot_grounding_ce(
        x.need("entities"), *x.named, x.need("dictionary"), x.temperature
    ),
    "tower_ego": _tower_ego,
    "tower_nouns": _tower_nouns,
    "presence": _presence,
    "box_fill": lambda x: mean_or_zero(extra.box_fill_loss(*x.instances[2:])),
    "box_inside": _box_inside,
    "pairwise_affinity": _pairwise_affinity,
    "slot_consistency": _slot_consistency,
}
