"""A bank of texts whose embeddings come in little by little, those that are asked for first.

Shapes: `P` texts, `D` width of the embedding.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from henasy_stream.backends.base import Backend
from henasy_stream.stream.phrases import Progress
from henasy_stream.stream.text_cache import TextCache
from henasy_stream.types import FloatArray

BATCH_S = 0.01
"""How long a batch should take: a third of a frame at 30 frames a second."""
MOST_AT_ONCE = 256
_KEEP_S = 2.0  # so often what is new is written to disk


class Filling:
    """The embeddings of `texts` as far as they are there.

    Attributes:
        texts: P of them.
        embeddings: (P, D), zeros where nothing is there yet.  Rows are written in place by `work`.
        ready: (P,) which rows are there.
        wanted: rows to do first; whoever scores the bank writes here.
        problem: why no more come in, if that is so.
    """

    def __init__(
        self, backend: Backend, cache: TextCache, texts: Sequence[str], progress: Progress | None = None
    ) -> None:
        """Takes what the cache knows."""
        self.texts = texts
        self.embeddings, self.ready = cache.get(texts)
        self.wanted: npt.NDArray[np.intp] = np.zeros(0, np.intp)
        self.problem: str | None = None
        self._backend, self._cache, self._progress = backend, cache, progress
        self._next = 0
        self._size = 1
        self._new: list[int] = []
        self._kept_at = time.monotonic()

    @property
    def done(self) -> int:
        """How many rows are there."""
        return int(np.count_nonzero(self.ready))

    @property
    def complete(self) -> bool:
        """Whether all rows are there."""
        return bool(self.ready.all())

    def remark(self) -> str | None:
        """A line for the user as long as the bank is not complete."""
        if self.complete:
            return None
        so_far = f"captions choose from {self.done} of {len(self.texts)} phrases"
        return (
            f"{so_far}: embedding failed ({self.problem})" if self.problem else f"{so_far} until the rest is embedded"
        )

    def work(self) -> None:
        """Embeds one batch, of so many texts as should take BATCH_S by the time that the last one took."""
        rows = self._choose()
        if not len(rows):
            return
        started = time.perf_counter()
        self.embeddings[rows] = self._backend.embed_texts([self.texts[row] for row in rows])
        took = time.perf_counter() - started
        self.ready[rows] = True
        self._new += rows.tolist()
        # A step of one at least: where the weights have to be read, a second text costs next to nothing.
        fitting = int(len(rows) * BATCH_S / max(took, 1e-6))
        most = min(2 * self._size, MOST_AT_ONCE)
        self._size = max(1, min(max(fitting, len(rows) + 1), most) if took <= BATCH_S else fitting)

    def report(self) -> None:
        """Tells the progress, and writes now and then what is new to the disk."""
        if self._progress is not None:
            self._progress(self.done, len(self.texts))
        if time.monotonic() - self._kept_at >= _KEEP_S or self.complete:
            self.keep()

    def keep(self) -> None:
        """Writes what is new to the disk."""
        if self._new:
            self._cache.put([self.texts[row] for row in self._new], self.embeddings[self._new])
        self._new, self._kept_at = [], time.monotonic()

    def run(self, until: int | None = None) -> FloatArray:
        """Works until so many rows are there, or all; what is done is kept even when it is interrupted."""
        least = len(self.texts) if until is None else min(until, len(self.texts))
        try:
            while self.done < least:
                self.work()
                self.report()
        finally:
            self.keep()
        return self.embeddings

    def _choose(self) -> npt.NDArray[np.intp]:
        wanted = self.wanted[~self.ready[self.wanted]]
        if len(wanted):
            return wanted[: self._size]
        while self._next < len(self.texts) and self.ready[self._next]:
            self._next += 1
        ahead = np.nonzero(~self.ready[self._next : self._next + MOST_AT_ONCE])[0]
        return ahead[: self._size] + self._next
