"""Batches of decoded clips, the same ones whatever the number of worker processes.

What stands at a position of an epoch is a pure function of (seed, epoch, position): clip, hard negative, frames, and
what replaces a clip that can't be read.  N clips of a batch on one rank.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, islice
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from henasy_stream.errors import UserError
from training.data.clip_table import ClipTable
from training.data.negatives import SceneNegatives
from training.data.records import Clip, ClipError

Arrays = Mapping[str, npt.NDArray[Any]]
Read = Callable[[Clip, np.random.Generator], Arrays]
_Key = tuple[int, int, int]
"""Of a sample: epoch, position in it, row of the clip."""

MIN_READS = 200
"""So many clips are tried before the share of unreadable ones is judged."""
_ATTEMPTS, _NEGATIVE_ATTEMPTS = 20, 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedBatch:
    """One rank's part of a batch.

    rows: (N,) or, with hard negatives, (2N,) rows of the table: all anchors, then their negatives in the same order.
    texts: a narration of each, drawn where a clip has several.  arrays: what the reader gave, stacked along the first
    axis.  unreadable: clips that were tried on the way, in order.
    """

    rows: tuple[int, ...]
    texts: tuple[str, ...]
    arrays: dict[str, Tensor]
    unreadable: tuple[ClipError, ...]


@dataclass(frozen=True, kw_only=True)
class _Sample:
    rows: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()
    arrays: tuple[Arrays, ...] = ()
    unreadable: tuple[ClipError, ...] = ()
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class _Samples(Dataset[_Sample]):
    table: ClipTable
    read: Read
    negatives: SceneNegatives | None
    seed: int

    def __getitem__(self, key: _Key) -> _Sample:
        epoch, position, row = key
        rng = np.random.default_rng((self.seed, epoch, 1 + position))
        unreadable: list[ClipError] = []
        try:
            for _ in range(_ATTEMPTS):
                read = self._pair(row, rng, unreadable)
                if read:
                    rows, texts, arrays = zip(*read, strict=True)
                    return _Sample(rows=rows, texts=texts, arrays=arrays, unreadable=tuple(unreadable))
                row = int(rng.integers(len(self.table)))
        except UserError as error:
            return _Sample(unreadable=tuple(unreadable), failure=str(error))
        failure = f"{len(unreadable)} clips drawn one after the other can't be read; the last: {unreadable[-1]}"
        return _Sample(unreadable=tuple(unreadable), failure=failure)

    def _pair(
        self, row: int, rng: np.random.Generator, unreadable: list[ClipError]
    ) -> list[tuple[int, str, Arrays]] | None:
        anchor = self._one(row, rng, unreadable)
        if anchor is None or self.negatives is None:
            return anchor and [anchor]
        for _ in range(_NEGATIVE_ATTEMPTS):
            negative = self._one(self.negatives.draw(row, rng), rng, unreadable)
            if negative is not None:
                return [anchor, negative]
        return None

    def _one(self, row: int, rng: np.random.Generator, unreadable: list[ClipError]) -> tuple[int, str, Arrays] | None:
        clip = self.table[row]
        try:
            arrays = self.read(clip, rng)
        except ClipError as error:
            unreadable.append(error)
            return None
        return row, clip.texts[int(rng.integers(len(clip.texts)))] if clip.texts else "", arrays


@dataclass(kw_only=True)
class ClipLoader:
    """Batches over a table of clips.

    table: the clips.  read: what a clip becomes, e.g. a `ClipReader`; must be picklable.  batch: clips over all ranks,
    before hard negatives double it.  negatives: None leaves them out.  workers: processes; 0 reads in this one.
    max_unreadable: share of clips above which the run stops.
    """

    table: ClipTable
    read: Read
    batch: int
    seed: int = 0
    negatives: SceneNegatives | None = None
    workers: int = 0
    rank: int = 0
    ranks: int = 1
    max_unreadable: float = 0.02
    reads: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    """By file, in this process's run so far."""

    def __post_init__(self) -> None:
        if self.batch % self.ranks:
            raise UserError(f"a batch of {self.batch} clips can't be divided among {self.ranks} ranks")
        if len(self.table) < self.batch:
            raise UserError(f"{len(self.table)} clips are fewer than one batch of {self.batch}; lower --batch")

    def __len__(self) -> int:
        """Batches of an epoch; what doesn't fill one is left to the next epoch's order."""
        return len(self.table) // self.batch

    def epoch(self, epoch: int, first: int = 0) -> Iterator[LoadedBatch]:
        """The batches of an epoch from the `first` on.

        Raises:
            UserError: too many unreadable clips, or a file that no other clip can replace.
        """
        yield from self._load(self._keys(epoch, first))

    def steps(self, first: int, end: int) -> Iterator[LoadedBatch]:
        """The batches `first` to `end` - 1 of all epochs one after the other; worker processes start once.

        Workers that are left while they read ahead may abort, so `end` should be where the caller stops.

        Raises:
            UserError: as `epoch`.
        """
        epoch, place = divmod(first, len(self))
        later = (keys for ahead in count(epoch + 1) for keys in self._keys(ahead, 0))
        yield from self._load(islice(chain(self._keys(epoch, place), later), max(end - first, 0)))

    def _keys(self, epoch: int, first: int) -> Iterator[list[_Key]]:
        """Keys of this rank's samples, batch by batch."""
        order = np.random.default_rng((self.seed, epoch, 0)).permutation(len(self.table))
        share = self.batch // self.ranks
        for step in range(first, len(self)):
            start = step * self.batch + self.rank * share
            yield [(epoch, place, int(order[place])) for place in range(start, start + share)]

    def _load(self, keys: Iterator[list[_Key]]) -> Iterator[LoadedBatch]:
        samples = _Samples(table=self.table, read=self.read, negatives=self.negatives, seed=self.seed)
        loader = DataLoader(
            samples,
            batch_sampler=keys,
            num_workers=self.workers,
            collate_fn=_collate,
            worker_init_fn=_one_thread,
            # A fork of a process whose threads (torch, OpenCV) hold a lock would wait for ever.
            multiprocessing_context="spawn" if self.workers else None,
        )
        for batch in loader:
            if isinstance(batch, str):
                raise UserError(batch)
            self._count(batch)
            yield batch

    def _count(self, batch: LoadedBatch) -> None:
        self.reads += len(batch.rows) + len(batch.unreadable)
        for error in batch.unreadable:
            self.unreadable[error.path] += 1
            _log.warning("%s; another one takes its place", error)
        bad = self.unreadable.total()
        if self.reads >= MIN_READS and bad > self.max_unreadable * self.reads:
            worst = ", ".join(f"{path} ({count})" for path, count in self.unreadable.most_common(3))
            raise UserError(
                f"{bad} of {self.reads} clips can't be read, more than {100 * self.max_unreadable:g} %: {worst}; "
                "mend the data or raise max_unreadable"
            )


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(1)


def _collate(samples: Sequence[_Sample]) -> LoadedBatch | str:
    """Anchors first, then negatives; the text of a failure in place of the batch."""
    failed = next((sample.failure for sample in samples if sample.failure), "")
    if failed:
        return failed
    roles = range(len(samples[0].rows))
    arrays = [sample.arrays[role] for role in roles for sample in samples]
    return LoadedBatch(
        rows=tuple(sample.rows[role] for role in roles for sample in samples),
        texts=tuple(sample.texts[role] for role in roles for sample in samples),
        arrays={name: torch.from_numpy(np.stack([one[name] for one in arrays])) for name in arrays[0]},
        unreadable=tuple(error for sample in samples for error in sample.unreadable),
    )
