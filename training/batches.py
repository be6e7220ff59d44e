"""What a trainer asks of data: batches, the words they use, and how they are put into numbers.

Shapes: N batch, T frames, S picture size, O boxes, K nouns and V verbs of a narration, L tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from henasy_stream.config import HenasyConfig
from henasy_stream.model.henasy import Henasy
from henasy_stream.model.tokenizer import ClipTokenizer


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """One rank's part of a batch, on the device of the run.

    video: (N, T, 3, S, S) normalised.  boxes: (N, T, O, 4) in 0..1 of the square, NaN where absent; a box o is
    one object throughout.
    box_noun: (N, O) long index into the dictionary, below 0 where the box has no name.
    nouns: (N, K) long nouns of the narration that an entity must name, places in the dictionary, -1 for padding.
    verbs: (N, V) long classes that the narration is tagged with, -1 for padding.
    noun_tags: (N, G) long like `nouns`, those that make two clips positives of each other; None: `nouns`.
    texts: the narrations.  phrases: a verb phrase of each.  key: where the batch comes from, for a person.
    """

    video: Tensor
    boxes: Tensor
    box_noun: Tensor
    nouns: Tensor
    verbs: Tensor
    texts: tuple[str, ...]
    phrases: tuple[str, ...]
    key: str
    noun_tags: Tensor | None = None


class TrainingData(Protocol):
    """Clips for a run.  Batch `step` is a pure function of (seed, step), whatever the number of ranks or workers."""

    @property
    def dictionary(self) -> tuple[str, ...]:
        """The nouns among which an entity must choose; `Batch.box_noun` and `Batch.nouns` count them."""

    @property
    def background(self) -> str | None:
        """The text for "nothing is here"; None where no loss needs it."""

    @property
    def num_verbs(self) -> int:
        """How many classes `Batch.verbs` counts."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one pass over the clips."""

    def batches(self, first: int) -> Iterator[Batch]:
        """This rank's part of the batches `first`, `first + 1`, … to the end of the run."""

    def prepare(self, model: Henasy) -> None:
        """Teach a new model what it should know before the first step; nothing where it starts from weights."""

    def score(self, model: Henasy) -> dict[str, float]:
        """Scores of a model in evaluation mode on clips that training never shows; empty where there are none."""


def token_table(texts: Sequence[str], config: HenasyConfig) -> Tensor:
    """(len(texts), context) int64."""
    return torch.from_numpy(ClipTokenizer(config.text.context)(texts))


def normalise(frames: npt.NDArray[np.uint8] | Tensor, config: HenasyConfig) -> Tensor:
    """(N, T, S, S, 3) uint8 → (N, T, 3, S, S) float, by the weights' own mean and deviation."""
    video = torch.as_tensor(np.array(frames) if isinstance(frames, np.ndarray) else frames)
    video = video.permute(0, 1, 4, 2, 3).float()
    mean = torch.tensor(config.preprocess.mean, device=video.device).view(1, 1, 3, 1, 1)
    std = torch.tensor(config.preprocess.std, device=video.device).view(1, 1, 3, 1, 1)
    return (video - mean) / std
