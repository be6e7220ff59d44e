"""Training steps on random clips, as the trainer makes them and as a plain implementation would.

Needs neither data nor tokenizer: pictures, boxes and token ids are drawn at random.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from henasy_stream.config import HenasyConfig
from henasy_stream.model.henasy import Henasy
from training import texts
from training.batches import Batch
from training.config import Recipe
from training.recipes.henasy_base_egoclip import RECIPE
from training.texts import TextBank
from training.trainer import Trainer

NOUNS, VERBS = 582, 118
"""Of EgoClip's taxonomy."""
WORDS = 12
"""Tokens of a narration, about."""
PHRASES = 2_000
_START, _END = 49406, 49407


@dataclass(frozen=True, kw_only=True)
class RandomClips:
    """`TrainingData`: the same pictures again and again, with narrations that are always new, as EgoClip's are."""

    config: HenasyConfig
    clips: int
    device: torch.device
    dictionary: tuple[str, ...] = tuple(f"noun {i}" for i in range(NOUNS))
    background: str | None = None
    num_verbs: int = VERBS
    steps_per_epoch: int = 1

    def batches(self, first: int) -> Iterator[Batch]:
        """From step `first` on."""
        vision, draw = self.config.vision, torch.Generator().manual_seed(0)
        frames = (self.clips, vision.num_frames)
        corner = torch.rand(*frames, 4, 2, generator=draw) * 0.6
        boxes = torch.cat([corner, corner + 0.3], -1)
        boxes[torch.rand(*frames, 4, generator=draw) < 0.2] = torch.nan
        batch = Batch(
            video=torch.randn(*frames, 3, vision.image_size, vision.image_size, generator=draw).to(self.device),
            boxes=boxes.to(self.device),
            box_noun=torch.tensor([0, 0, -1, -1]).expand(self.clips, -1).to(self.device),
            nouns=torch.randint(NOUNS, (self.clips, 2), generator=draw).to(self.device),
            verbs=torch.randint(VERBS, (self.clips, 1), generator=draw).to(self.device),
            texts=(),
            phrases=(),
            key="random clips",
        )
        for step in itertools.count(first):
            rows = range(step * self.clips, (step + 1) * self.clips)
            yield replace(
                batch,
                texts=tuple(f"narration {row}" for row in rows),
                phrases=tuple(f"phrase {row * 7919 % PHRASES}" for row in rows),
            )

    def prepare(self, model: Henasy) -> None:
        """Nothing."""

    def score(self, model: Henasy) -> dict[str, float]:
        """Nothing."""
        return {}


def trainer(
    config: HenasyConfig, clips: int, device: torch.device, *, plain: bool = False, **changes: object
) -> Trainer:
    """A run of the paper's recipe that has made no step, over random clips.

    Args:
        config: sizes of the network.
        clips: that a step runs through it, hard negatives included.
        device: of the run.
        plain: the towers are part of the backward pass, and all texts are embedded anew in each step.
        **changes: fields of the recipe.
    """
    texts.token_table = _random_tokens  # type: ignore[attr-defined]
    recipe: Recipe = replace(RECIPE, model=config, init="", batch=clips, **changes)  # type: ignore[arg-type]
    data = RandomClips(config=config, clips=clips, device=device)
    with device:
        made = Trainer(recipe, data, Path(), device=device)
    made.prepared = True
    if plain:
        made.model.requires_grad_(True)
        made.texts = TextBank(made.model.encode_text, config, frozen=False, device=device)
    return made


def step(run: Trainer) -> None:
    """One update; the gradients of a plain run's towers are computed and not used."""
    run.step()
    run.model.zero_grad(set_to_none=True)


def _random_tokens(texts: Sequence[str], config: HenasyConfig) -> Tensor:
    table = torch.zeros(len(texts), config.text.context, dtype=torch.int64)
    for row, text in zip(table, texts, strict=True):
        draw = torch.Generator().manual_seed(zlib.crc32(text.encode()))
        words = 2 if text.startswith("noun") else WORDS
        row[0], row[1 + words] = _START, _END
        row[1 : 1 + words] = torch.randint(1000, _START, (words,), generator=draw)
    return table
