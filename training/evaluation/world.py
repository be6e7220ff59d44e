"""Scores on held-out clips of the synthetic world: does it know what happens, and does it look at the right thing?

Shapes: M clips, T frames, S picture size, h grid, E entities, J joint width, O objects.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from henasy_stream.model.henasy import Henasy
from henasy_stream.sources.world import HAND, NOUNS, VERBS, phrases
from training.batches import normalise, token_table
from training.data.world_pool import BACKGROUND, HAND_INDEX, WorldPool
from training.evaluation.slots import SlotIous, slot_ious, upsample
from training.metrics import adjusted_rand_index_fg, mask_iou, multiple_choice_accuracy

CHOICES = 5
GROUNDING_CLIPS = 400


@dataclass(frozen=True, kw_only=True)
class WorldScores:
    """All in 0..1.  IoUs are at pixel level, mean over clips and frames in which the object is visible."""

    inter: float
    intra: float
    verb: float
    noun: float
    noun_miou: float
    best_slot_miou: float
    chosen_over_best: float
    hand_miou: float
    fg_ari: float
    trivial_whole_frame: float
    trivial_centre_box: float
    trivial_random_entity: float
    dead_slots: float
    background_share: float
    clips: int

    def headline(self) -> dict[str, float]:
        """The few that a training shows as it goes."""
        names = ("inter", "intra", "verb", "noun", "noun_miou", "best_slot_miou", "hand_miou", "fg_ari", "dead_slots")
        return {name: getattr(self, name) for name in names}

    def as_dict(self) -> dict[str, float]:
        """For JSON and tables."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a network makes of the clips of a pool; embeddings are L2-normalised."""

    video: torch.Tensor  # M J
    entities: torch.Tensor  # M E J
    probability: torch.Tensor  # M T h h E


@torch.no_grad()
def _embed(model: Henasy, pool: WorldPool, batch: int = 50) -> Seen:
    video, entities, probability = [], [], []
    for start in range(0, len(pool), batch):
        out = model(normalise(pool.frames[start : start + batch], model.config))
        side = math.isqrt(out.probability.shape[2])
        video.append(F.normalize(out.video, dim=-1))
        entities.append(F.normalize(out.entities, dim=-1))
        probability.append(out.probability.unflatten(2, (side, side)))
    return Seen(video=torch.cat(video), entities=torch.cat(entities), probability=torch.cat(probability))


def _questions(pool: WorldPool, kind: str, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """(Q, 5) rows, the right one first: the others have another verb and noun ("inter"), or the same verb or the same
    noun but not both ("intra").  A clip with too few such others asks nothing.
    """
    same_verb = pool.verb_class[:, None] == pool.verb_class[None]
    same_noun = pool.noun_class[:, None] == pool.noun_class[None]
    allowed = ~same_verb & ~same_noun if kind == "inter" else same_verb ^ same_noun
    questions = [
        [clip, *rng.choice(np.flatnonzero(row), CHOICES - 1, replace=False)]
        for clip, row in enumerate(allowed)
        if row.sum() >= CHOICES - 1
    ]
    return np.array(questions, np.int64).reshape(-1, CHOICES)


def five_way(similarity: npt.NDArray[np.float32], pool: WorldPool, seed: int) -> dict[str, float]:
    """Percent right of the two kinds of questions, from (M narrations, M clips); `seed` draws the wrong answers."""
    rng = np.random.default_rng(seed)
    scores, types = [], []
    for code, kind in ((1, "inter"), (2, "intra")):
        questions = _questions(pool, kind, rng)
        # The right answer last: the first of equal scores is taken, and a tie must not count as right.
        scores.append(similarity[questions[:, :1], questions[:, ::-1]])
        types.append(np.full(len(questions), code))
    labels = np.full(sum(map(len, types)), CHOICES - 1)
    found = multiple_choice_accuracy(np.concatenate(scores), labels, np.concatenate(types))
    return {kind: found.get(kind, float("nan")) for kind in ("inter", "intra")}


@dataclass(frozen=True, kw_only=True)
class _Grounding:
    ious: SlotIous
    hand: float
    fg_ari: float


def _ground(seen: Seen, labels: torch.Tensor, chosen: torch.Tensor, pool: WorldPool, seed: int) -> _Grounding:
    """labels: (M, E) best class of every slot (last = background); chosen: (M,) slot that answers the narrated noun."""
    rng = np.random.default_rng(seed)
    size = pool.frames.shape[2]
    rows: list[SlotIous] = []
    hands, aris = [], []
    for i in range(min(GROUNDING_CLIPS, len(pool))):
        for t in range(pool.frames.shape[1]):
            soft = upsample(seen.probability[i, t].numpy(), size)
            hard = soft > 0.5
            instances = pool.instances[i, t]
            if (instances > 0).any():
                aris.append(adjusted_rand_index_fg(soft.argmax(-1), instances))
            truth = instances == pool.target[i] + 1
            if truth.any():
                rows.append(slot_ious(soft, truth, int(chosen[i]), rng))
            hand = np.isin(instances, np.flatnonzero(pool.noun[i] == HAND_INDEX) + 1)
            if hand.any():
                hands.append(mask_iou(hard[..., (labels[i] == HAND_INDEX).numpy()].any(-1), hand))
    ious = SlotIous(*(float(mean) for mean in np.mean(rows, 0)))
    return _Grounding(ious=ious, hand=float(np.mean(hands)), fg_ari=float(np.mean(aris)))


def score_world(model: Henasy, pool: WorldPool, *, seed: int) -> WorldScores:
    """Score a model in evaluation mode; `seed` draws the distractors and the random entity."""
    return score_seen(model, _embed(model, pool), pool, seed=seed)


@torch.no_grad()
def score_seen(model: Henasy, seen: Seen, pool: WorldPool, *, seed: int) -> WorldScores:
    """Score what another form of the model has seen; the texts are the model's own."""
    config = model.config

    def texts(values: tuple[str, ...]) -> torch.Tensor:
        return F.normalize(model.encode_text(token_table(values, config)), dim=-1)

    narrations = texts(pool.narrations)
    five = five_way((narrations @ seen.video.T).numpy(), pool, seed)
    bank = (seen.video @ texts(phrases()).T / config.temperature).softmax(-1).view(-1, len(VERBS), len(NOUNS))
    verb = bank.sum(2).argmax(1).numpy() == pool.verb_class
    noun = bank.sum(1).argmax(1).numpy() == pool.noun_class
    words = texts((*NOUNS, HAND, BACKGROUND))
    similarity = seen.entities @ words.T  # M E V
    narrated = similarity[torch.arange(len(pool)), :, torch.from_numpy(pool.noun_class.astype(np.int64))]  # M E
    grounding = _ground(seen, similarity.argmax(-1), narrated.argmax(1), pool, seed)
    share = F.one_hot(seen.probability.argmax(-1), seen.probability.shape[-1]).float().mean((1, 2, 3))  # M E
    return WorldScores(
        inter=five["inter"] / 100,
        intra=five["intra"] / 100,
        verb=float(verb.mean()),
        noun=float(noun.mean()),
        noun_miou=grounding.ious.chosen,
        best_slot_miou=grounding.ious.best,
        chosen_over_best=grounding.ious.chosen / max(grounding.ious.best, 1e-9),
        hand_miou=grounding.hand,
        fg_ari=grounding.fg_ari,
        trivial_whole_frame=grounding.ious.whole_frame,
        trivial_centre_box=grounding.ious.centre_box,
        trivial_random_entity=grounding.ious.random_entity,
        dead_slots=float((share == 0).float().sum(1).mean()),
        background_share=float(share.max(1).values.mean()),
        clips=len(pool),
    )
