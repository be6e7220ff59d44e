"""Batches of the synthetic world: which clips, the augmentation, and what a model from scratch learns before the run.

Shapes: N batch, T frames, S picture size, O boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from henasy_stream.config import HenasyConfig
from henasy_stream.errors import UserError
from henasy_stream.model.henasy import Henasy
from henasy_stream.sources.world import HAND, NOUNS, VERBS, phrases
from training.batches import Batch, normalise, token_table
from training.config import WorldData
from training.data.world_pool import BACKGROUND, WorldPool
from training.distributed import ALONE, CPU, Ranks
from training.text_pretraining import pretrain_text
from training.tower_pretraining import pretrain_tower


@dataclass(frozen=True, kw_only=True, eq=False)
class WorldBatches:
    """`TrainingData` over a pool.  `batch`: clips over all ranks.  `judge`: scores a model on clips kept apart."""

    pool: WorldPool
    config: HenasyConfig
    batch: int
    seed: int
    data: WorldData
    ranks: Ranks = ALONE
    device: torch.device = CPU
    judge: Callable[[Henasy], dict[str, float]] = lambda _: {}

    def __post_init__(self) -> None:
        if self._clips_a_step > len(self.pool):
            raise UserError(
                f"a batch of {self._clips_a_step} clips needs more than {len(self.pool)}; raise --data.clips"
            )
        if self.data.hard_negatives and self.data.cut < self.data.clips:
            raise UserError(f"hard negatives are cut out of streams; set --data.cut {self.data.clips}")

    @property
    def dictionary(self) -> tuple[str, ...]:
        """The nouns and the hand."""
        return (*NOUNS, HAND)

    @property
    def background(self) -> str:
        """The word for the rest of the picture."""
        return BACKGROUND

    @property
    def num_verbs(self) -> int:
        """Of the world."""
        return len(VERBS)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of the pool."""
        return len(self.pool) // self._clips_a_step

    @property
    def _clips_a_step(self) -> int:
        return self.batch * (2 if self.data.hard_negatives else 1)

    def _rows(self, epoch: int, place: int) -> npt.NDArray[np.int64]:
        """Of one batch, sorted: the pool is read in one sweep.  A clip's hard negative is its neighbour in the pool."""
        group = 2 if self.data.hard_negatives else 1
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.pool) // group)
        drawn = np.sort(order[place * self.batch : (place + 1) * self.batch])
        return (group * drawn[:, None] + np.arange(group)).reshape(-1)

    @cached_property
    def box_noun(self) -> npt.NDArray[np.int64]:
        """(M, O) of the whole pool."""
        return self.pool.named(labelled_boxes=self.data.labelled_boxes)

    def batches(self, first: int) -> Iterator[Batch]:
        """See `TrainingData`."""
        while True:
            yield self[first]
            first += 1

    def __getitem__(self, step: int) -> Batch:
        epoch, place = divmod(step, self.steps_per_epoch)
        rows = self._rows(epoch, place)
        rng = np.random.default_rng((self.seed, epoch, place))
        change = _Change.draw(len(rows), self.data.jitter, rng)
        first = int(rng.integers(self.data.lead + 1))  # streams begin at any time
        mine = self.ranks.share(len(rows))
        rows = rows[mine]
        seen = self.pool.frames[rows, first:], self.pool.boxes[rows, first:]
        video, boxes = change[mine](normalise(seen[0], self.config), seen[1])
        verb = torch.from_numpy(self.pool.verb_class[rows].astype(np.int64))
        noun = torch.from_numpy(self.pool.noun_class[rows].astype(np.int64))
        spoken = phrases()
        return Batch(
            video=video.to(self.device),
            boxes=boxes.to(self.device),
            box_noun=torch.from_numpy(self.box_noun[rows]).to(self.device),
            nouns=noun[:, None].to(self.device),
            verbs=verb[:, None].to(self.device),
            texts=tuple(self.pool.narrations[row] for row in rows),
            phrases=tuple(spoken[pair] for pair in (verb * len(NOUNS) + noun).tolist()),
            key=f"world clips {', '.join(map(str, rows))}",
        )

    def frames(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """One augmented frame of each clip: video (N, 1, 3, S, S), boxes (N, 1, O, 4), names (N, O)."""
        time = rng.integers(self.pool.frames.shape[1], size=len(rows))
        images = np.stack([self.pool.frames[row, t] for row, t in zip(rows, time, strict=True)])[:, None]
        change = _Change.draw(len(rows), self.data.jitter, rng)
        video, boxes = change(normalise(images, self.config), self.pool.boxes[rows, time][:, None])
        return video.to(self.device), boxes.to(self.device), torch.from_numpy(self.box_noun[rows]).to(self.device)

    def prepare(self, model: Henasy) -> None:
        """Pretrain the towers, for as many steps as `data` says."""
        towers = model.towers
        words = token_table([*NOUNS, HAND, BACKGROUND], self.config).to(self.device)
        if self.data.text_steps:
            pretrain_text(
                model.encode_text,
                [*towers.text.parameters(), towers.text_projection],
                token_table(self.pool.narrations, self.config).to(self.device),
                self.pool.verb_class.astype(np.int64) * len(NOUNS) + self.pool.noun_class,
                words,
                steps=self.data.text_steps,
                seed=self.seed,
            )
        if self.data.tower_steps:
            with torch.no_grad():
                dictionary = F.normalize(model.encode_text(words[:-1]), dim=-1)
            pretrain_tower(
                model,
                self.frames,
                len(self.pool),
                dictionary,
                steps=self.data.tower_steps,
                seed=self.seed,
            )

    def score(self, model: Henasy) -> dict[str, float]:
        """What `judge` says."""
        return self.judge(model)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Change:
    """Other light and colours, and half of the clips mirrored together with their boxes."""

    gain: Tensor
    shift: Tensor
    mirror: Tensor

    @staticmethod
    def draw(clips: int, jitter: float, rng: np.random.Generator) -> _Change:
        shape = (clips, 1, 3, 1, 1)
        return _Change(
            gain=torch.from_numpy(1 + jitter * rng.uniform(-1, 1, shape)).float(),
            shift=torch.from_numpy(jitter * rng.uniform(-1, 1, shape)).float(),
            mirror=torch.from_numpy(rng.random(clips) < 0.5),
        )

    def __getitem__(self, rows: slice) -> _Change:
        return _Change(gain=self.gain[rows], shift=self.shift[rows], mirror=self.mirror[rows])

    def __call__(self, video: Tensor, boxes: npt.NDArray[np.float32]) -> tuple[Tensor, Tensor]:
        video, boxed = video * self.gain + self.shift, torch.tensor(np.asarray(boxes))
        video[self.mirror] = video[self.mirror].flip(-1)
        mirrored = torch.stack([1 - boxed[..., 2], boxed[..., 1], 1 - boxed[..., 0], boxed[..., 3]], -1)
        return video, torch.where(self.mirror[:, None, None, None], mirrored, boxed)
