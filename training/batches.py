"""From the pool to batches: which clips, which texts, and the augmentation.

Shapes: N batch, T frames, S picture size, O objects, L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from henasy_stream.config import HenasyConfig
from henasy_stream.model.tokenizer import ClipTokenizer
from training.config import DataConfig
from training.data.world_pool import WorldPool


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One batch.

    video: (N, T, 3, S, S) normalised.  boxes: (N, T, O, 4) in 0..1, NaN where absent.  named: (N, O) class, UNNAMED or
    ABSENT.  verb, noun: (N,) classes.  rows: (N,) places in the pool.
    """

    video: Tensor
    boxes: Tensor
    named: Tensor
    verb: Tensor
    noun: Tensor
    rows: Tensor


def token_table(texts: Sequence[str], config: HenasyConfig) -> Tensor:
    """(len(texts), context) int64."""
    return torch.from_numpy(ClipTokenizer(config.text.context)(texts))


def normalise(frames: npt.NDArray[np.uint8], config: HenasyConfig) -> Tensor:
    """(N, T, S, S, 3) uint8 → (N, T, 3, S, S) float, by the weights' own mean and deviation."""
    video = torch.tensor(np.asarray(frames)).permute(0, 1, 4, 2, 3).float()
    mean = torch.tensor(config.preprocess.mean).view(1, 1, 3, 1, 1)
    std = torch.tensor(config.preprocess.std).view(1, 1, 3, 1, 1)
    return (video - mean) / std


class Batches:
    """Batch `step` of a run, a pure function of (seed, step): a resumed run sees what the first would have seen."""

    def __init__(self, pool: WorldPool, config: HenasyConfig, *, batch: int, seed: int, data: DataConfig) -> None:
        if batch > len(pool):
            raise ValueError(f"a batch of {batch} clips needs a larger pool than {len(pool)}")
        self.pool, self.config, self.batch, self.seed, self.jitter = pool, config, batch, seed, data.jitter
        self.tokens = token_table(pool.narrations, config)
        self.named = torch.from_numpy(pool.named(labelled_boxes=data.labelled_boxes))
        self.per_epoch = len(pool) // batch

    def __getitem__(self, step: int) -> Batch:
        epoch, place = divmod(step, self.per_epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.pool))
        rows = np.sort(order[place * self.batch : (place + 1) * self.batch])  # sorted: the pool is read in one sweep
        rng = np.random.default_rng((self.seed, epoch, place))
        video, boxes = self._augment(self.pool.frames[rows], self.pool.boxes[rows], rng)
        index = torch.from_numpy(rows)
        return Batch(
            video=video,
            boxes=boxes,
            named=self.named[index],
            verb=torch.from_numpy(self.pool.verb_class[rows].astype(np.int64)),
            noun=torch.from_numpy(self.pool.noun_class[rows].astype(np.int64)),
            rows=index,
        )

    def frames(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """One augmented frame of each clip: video (N, 1, 3, S, S), boxes (N, 1, O, 4), named (N, O)."""
        time = rng.integers(self.pool.frames.shape[1], size=len(rows))
        images = np.stack([self.pool.frames[row, t] for row, t in zip(rows, time, strict=True)])[:, None]
        video, boxes = self._augment(images, self.pool.boxes[rows, time][:, None], rng)
        return video, boxes, self.named[torch.from_numpy(rows)]

    def _augment(
        self, frames: npt.NDArray[np.uint8], boxes: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Other light and colours, and half of the clips mirrored together with their boxes."""
        video, boxed = normalise(frames, self.config), torch.tensor(np.asarray(boxes))
        shape = (len(frames), 1, 3, 1, 1)
        gain = 1 + self.jitter * rng.uniform(-1, 1, shape)
        shift = self.jitter * rng.uniform(-1, 1, shape)
        video = video * torch.from_numpy(gain).float() + torch.from_numpy(shift).float()
        mirror = torch.from_numpy(rng.random(len(frames)) < 0.5)
        video[mirror] = video[mirror].flip(-1)
        mirrored = torch.stack([1 - boxed[..., 2], boxed[..., 1], 1 - boxed[..., 0], boxed[..., 3]], -1)
        return video, torch.where(mirror[:, None, None, None], mirrored, boxed)
