"""Clips in their own order, for evaluation and for features: none is replaced, and none goes missing unsaid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, SupportsIndex

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.data.loader import Arrays, Read
from training.data.records import Clip, ClipError


class Clips(Protocol):
    """A `ClipTable`, or a list or tuple of clips."""

    def __len__(self) -> int: ...
    def __getitem__(self, row: SupportsIndex, /) -> Clip: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class OrderedBatch:
    """Consecutive clips.  rows: places of the readable ones; arrays: theirs, stacked.  unreadable: place and error."""

    rows: tuple[int, ...]
    arrays: dict[str, Tensor]
    unreadable: tuple[tuple[int, ClipError], ...]


@dataclass(frozen=True)
class _Clips(Dataset[tuple[int, Arrays | ClipError]]):
    clips: Clips
    read: Read

    def __getitem__(self, row: int) -> tuple[int, Arrays | ClipError]:
        try:
            return row, self.read(self.clips[row], np.random.default_rng(row))
        except ClipError as error:
            return row, error


def read_in_order(
    clips: Clips, read: Read, *, batch: int, workers: int = 0, rows: Iterable[int] | None = None
) -> Iterator[OrderedBatch]:
    """Read clips, `batch` at a time, in `workers` processes; the result doesn't depend on their number.

    Args:
        clips: all of them.
        read: what a clip becomes, e.g. a `ClipReader`; its generator is seeded by the row.
        batch: clips of a batch; the last may have fewer.
        workers: processes; 0 reads in this one.
        rows: which clips, in this order; all by default.  Taken one by one, as far ahead as `workers` read.
    """
    yield from DataLoader(
        _Clips(clips, read),
        batch_size=batch,
        sampler=range(len(clips)) if rows is None else rows,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_one_thread,
        # A fork of a process whose threads (torch, OpenCV) hold a lock would wait for ever.
        multiprocessing_context="spawn" if workers else None,
    )


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(1)


def _collate(items: Sequence[tuple[int, Arrays | ClipError]]) -> OrderedBatch:
    good = [(row, item) for row, item in items if not isinstance(item, ClipError)]
    names = good[0][1] if good else ()
    return OrderedBatch(
        rows=tuple(row for row, _ in good),
        arrays={name: torch.from_numpy(np.stack([arrays[name] for _, arrays in good])) for name in names},
        unreadable=tuple((row, item) for row, item in items if isinstance(item, ClipError)),
    )
