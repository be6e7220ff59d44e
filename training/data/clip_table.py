"""Millions of clips in a few arrays, which worker processes share without copying.

EgoClip's 3.8 million rows take about half a gigabyte here and several as objects, whose reference counts, besides,
would make every worker's copy its own.
"""

from __future__ import annotations

import operator
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
import numpy.typing as npt

from training.data.records import Clip


@dataclass(frozen=True, kw_only=True, eq=False)
class Ragged:
    """Rows of different length: row i is values[bounds[i]:bounds[i + 1]]."""

    values: npt.NDArray[np.generic]
    bounds: npt.NDArray[np.int64]

    def __getitem__(self, row: int) -> npt.NDArray[np.generic]:
        return self.values[self.bounds[row] : self.bounds[row + 1]]


class _Collector:
    def __init__(self, code: str) -> None:
        self.values, self.bounds = array(code), array("q", [0])

    def add(self, values: bytes | Iterable[int]) -> None:
        self.values.extend(values)
        self.bounds.append(len(self.values))

    def ragged(self) -> Ragged:
        return Ragged(values=np.array(self.values), bounds=np.array(self.bounds))


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipTable:
    """Clips by row; `table[i]` makes the `Clip`.

    videos: the M different video ids, in the order of their first clip.  video: (N,) index into them.  start, end,
    time: (N,) seconds.  The other fields hold what a `Clip` holds.
    """

    videos: tuple[str, ...]
    video: npt.NDArray[np.int32]
    start: npt.NDArray[np.float64]
    end: npt.NDArray[np.float64]
    time: npt.NDArray[np.float64]
    nouns: Ragged
    verbs: Ragged
    keys: Ragged
    texts: Ragged

    @staticmethod
    def of(clips: Iterable[Clip]) -> ClipTable:
        """The table of these clips, in their order; they may come from a generator."""
        videos: dict[str, int] = {}
        video = array("i")
        seconds = array("d")
        nouns, verbs, keys, texts = _Collector("h"), _Collector("h"), _Collector("B"), _Collector("B")
        for clip in clips:
            video.append(videos.setdefault(clip.video, len(videos)))
            seconds.extend((clip.start, clip.end, clip.time))
            nouns.add(clip.nouns)
            verbs.add(clip.verbs)
            keys.add(clip.key.encode())
            texts.add("\n".join(text.replace("\n", " ") for text in clip.texts).encode())
        start, end, time = np.ascontiguousarray(np.array(seconds).reshape(-1, 3).T)
        return ClipTable(
            videos=tuple(videos), video=np.array(video, np.int32), start=start, end=end, time=time,
            nouns=nouns.ragged(), verbs=verbs.ragged(), keys=keys.ragged(), texts=texts.ragged(),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.video)

    def __getitem__(self, row: SupportsIndex) -> Clip:
        row = operator.index(row)
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        row %= len(self)
        text = self.texts[row].tobytes().decode()
        return Clip(
            video=self.videos[self.video[row]],
            start=float(self.start[row]),
            end=float(self.end[row]),
            texts=tuple(text.split("\n")) if text else (),
            time=float(self.time[row]),
            nouns=tuple(self.nouns[row].tolist()),
            verbs=tuple(self.verbs[row].tolist()),
            key=self.keys[row].tobytes().decode(),
        )

    def __iter__(self) -> Iterator[Clip]:
        return (self[row] for row in range(len(self)))

    def select(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> ClipTable:
        """The table of these rows, in this order."""
        return ClipTable.of(self[int(row)] for row in rows)
