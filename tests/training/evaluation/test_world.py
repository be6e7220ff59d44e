"""The scores of a model that knows the truth, of one that lies in a known way, and of one that knows nothing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from henasy_stream.model.henasy import Henasy
from henasy_stream.sources.world import HAND, NOUNS, phrases
from training.batches import token_table
from training.config import Recipe
from training.data.world_pool import BACKGROUND, HAND_INDEX, WorldPool, open_pool
from training.evaluation.world import WorldScores, score_world

SLOTS = 8


@pytest.fixture(scope="module")
def pool(tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> WorldPool:
    root = tmp_path_factory.mktemp("scored")
    return open_pool(root, tiny_recipe.model, split="validation", clips=60, seed=1)


class Knowing:
    """Answers from the truth: slot e shows object e, named by its class; the last slot shows the ground.

    `shift` moves every slot's name one slot on, so that names are known and places are wrong.
    """

    def __init__(self, recipe: Recipe, pool: WorldPool, *, shift: int = 0) -> None:
        self.config, self.pool, self.shift, self.row = recipe.model, pool, shift, 0
        pairs = len(phrases())
        words = (*NOUNS, HAND, BACKGROUND)
        eye = torch.eye(pairs + len(words))
        texts = {text: eye[i] for i, text in enumerate(phrases())} | {w: eye[pairs + i] for i, w in enumerate(words)}
        pair = pool.verb_class.astype(int) * len(NOUNS) + pool.noun_class
        texts |= {text: eye[p] for text, p in zip(pool.narrations, pair, strict=True)}
        self.eye, self.pairs, self.pair = eye, pairs, pair
        self.known = {
            tuple(row.tolist()): texts[text]
            for text, row in zip(texts, token_table(tuple(texts), self.config), strict=True)
        }

    def encode_text(self, tokens: Tensor) -> Tensor:
        return torch.stack([self.known[tuple(row.tolist())] for row in tokens])

    def __call__(self, video: Tensor) -> SimpleNamespace:
        rows = range(self.row, self.row + len(video))
        self.row += len(video)
        instances = torch.from_numpy(self.pool.instances[rows.start : rows.stop].astype(np.int64))
        slot = torch.where(instances > 0, instances - 1, SLOTS - 1).flatten(2)  # N T K
        names = torch.full((len(rows), SLOTS), len(NOUNS) + 1)
        for n, row in enumerate(rows):
            for column, noun in enumerate(self.pool.noun[row]):
                if noun >= 0:
                    names[n, column] = int(noun)
        return SimpleNamespace(
            video=self.eye[torch.from_numpy(self.pair[rows.start : rows.stop])],
            entities=self.eye[self.pairs + names.roll(self.shift, 1)],
            probability=torch.nn.functional.one_hot(slot, SLOTS).float(),
        )


def score(model: object, pool: WorldPool) -> WorldScores:
    return score_world(model, pool, seed=0)  # type: ignore[arg-type]


def test_truth_gets_full_marks(tiny_recipe: Recipe, pool: WorldPool) -> None:
    scores = score(Knowing(tiny_recipe, pool), pool)
    assert scores.inter == scores.verb == scores.noun == 1
    assert scores.intra == 1
    assert scores.noun_miou == scores.best_slot_miou == scores.hand_miou == scores.fg_ari == 1
    assert 0 < scores.trivial_whole_frame < 0.3


def test_right_names_on_wrong_places_do_not_hide(tiny_recipe: Recipe, pool: WorldPool) -> None:
    """The failure that a matching score alone does not show: the best slot is right and the chosen one is not."""
    scores = score(Knowing(tiny_recipe, pool, shift=1), pool)
    assert scores.inter == scores.best_slot_miou == 1
    assert scores.noun_miou < 0.2
    assert scores.chosen_over_best < 0.2


def test_ignorance_scores_near_chance(tiny_recipe: Recipe, pool: WorldPool) -> None:
    torch.manual_seed(0)
    scores = score(Henasy(tiny_recipe.model).eval(), pool)
    assert 0.02 < scores.inter < 0.5
    assert 0.02 < scores.intra < 0.5
    assert scores.noun < 0.4


def test_model_that_says_the_same_of_everything_is_not_right(tiny_recipe: Recipe, pool: WorldPool) -> None:
    model = Knowing(tiny_recipe, pool)
    model.pair = np.zeros_like(model.pair)
    scores = score(model, pool)
    assert scores.inter < 0.1  # ties must not count for the right answer
    assert scores.intra < 0.1


def test_hands_are_scored_by_name(tiny_recipe: Recipe, pool: WorldPool) -> None:
    assert (pool.noun == HAND_INDEX).any()
    assert score(Knowing(tiny_recipe, pool, shift=2), pool).hand_miou < 0.5
