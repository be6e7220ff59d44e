"""Batches of decoded clips for a run: frames, boxes, nouns, verbs and a phrase of each.

**Pictures.**  With boxes a clip gives the four middle frames of its quarters, as the boxes were found in them, and no
augmentation; HelpingHands trains so, on frames that are squashed into the square.  How a frame fits in is the model's
own `preprocess.resize`; boxes follow it.  Without boxes each quarter gives a random frame, as in LaViLa's training.

Shapes: N clips (anchors, then their hard negatives), T frames, S picture size, O = 4 boxes: two hands, two objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from henasy_stream.config import HenasyConfig, VocabularyConfig
from henasy_stream.model.henasy import Henasy
from training.batches import Batch, normalise
from training.data.clip_labels import ClipLabels
from training.data.hand_object import BOX_SHAPE, PADDING, PER_KIND
from training.data.loader import Arrays, ClipLoader, LoadedBatch, Read
from training.data.records import Clip
from training.distributed import CPU

BACKGROUND = "background"


@dataclass(frozen=True)
class WithChoice:
    """Reads a clip and adds a random number, which chooses among its phrases whichever process read it."""

    read: Read

    def __call__(self, clip: Clip, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        """What `read` gives, and {"choice": () int64 below 2**31}."""
        arrays: Arrays = self.read(clip, rng)
        return {**arrays, "choice": np.array(rng.integers(1 << 31))}


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipBatches:
    """`TrainingData` over a loader whose `read` is a `WithChoice`.

    source: names the annotations in messages; the keys of clips find them there.  steps: of the run; nothing is read
    beyond them.  background: None where no loss asks for it.
    """

    loader: ClipLoader
    labels: ClipLabels
    config: HenasyConfig
    source: str
    steps: int
    background: str | None = None
    device: torch.device = CPU

    @property
    def dictionary(self) -> tuple[str, ...]:
        """Of the labels."""
        return self.labels.dictionary

    @property
    def num_verbs(self) -> int:
        """Of the labels."""
        return self.labels.num_verbs

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of the table."""
        return len(self.loader)

    @property
    def vocabulary(self) -> VocabularyConfig:
        """The words that weights trained on this know."""
        labels = self.labels
        return VocabularyConfig(
            nouns=labels.dictionary, verbs=labels.verb_words, phrases=labels.captions, background=self.background
        )

    def batches(self, first: int) -> Iterator[Batch]:
        """See `TrainingData`."""
        for loaded in self.loader.steps(first, self.steps):
            yield self._batch(loaded)

    def prepare(self, model: Henasy) -> None:
        """Nothing: towers come from weights."""

    def score(self, model: Henasy) -> dict[str, float]:
        """Nothing: see `training/evaluate.py`."""
        return {}

    def _batch(self, loaded: LoadedBatch) -> Batch:
        labels, rows = self.labels, loaded.rows
        nouns, tags, verbs = labels.widths
        frames = loaded.arrays["frames"].to(self.device)
        boxes = loaded.arrays.get("boxes", torch.full((len(rows), frames.shape[1], *BOX_SHAPE[1:]), torch.nan))
        named = torch.tensor([labels.hand] * PER_KIND + [PADDING] * (BOX_SHAPE[1] - PER_KIND))
        spoken = [labels.phrases(row) or (text,) for row, text in zip(rows, loaded.texts, strict=True)]
        said = zip(rows, loaded.texts, strict=True)
        return Batch(
            video=normalise(frames, self.config),
            boxes=boxes.to(self.device),
            box_noun=named.expand(len(rows), -1).to(self.device),
            nouns=self._table([labels.nouns(row, text) for row, text in said], nouns),
            verbs=self._table([labels.verbs(row) for row in rows], verbs),
            texts=loaded.texts,
            phrases=tuple(
                some[choice % len(some)] for some, choice in zip(spoken, loaded.arrays["choice"].tolist(), strict=True)
            ),
            key=f"{self.source}, clips {', '.join(labels.table[row].key for row in rows)}",
            noun_tags=self._table([labels.tags(row) for row in rows], tags),
        )

    def _table(self, rows: Sequence[Sequence[int]], width: int) -> Tensor:
        table = torch.full((len(rows), width), PADDING)
        for place, row in enumerate(rows):
            table[place, : len(row)] = torch.as_tensor(row[:width], dtype=torch.int64)
        return table.to(self.device)
