"""Captions: the phrase that fits a window best, and the segments that it lasts for.

HENASY does not generate text; a caption is retrieved from a bank of phrases and reweighted by what is grounded now.

Shapes: `P` phrases, `L` labels of the vocabulary, `N` detections, `D` width of the embedding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from henasy_stream.stream.filling import Filling
from henasy_stream.stream.word_lists import spoken
from henasy_stream.types import Alternative, Caption, FloatArray, Track

UNGROUNDED = 0.25
"""Weight of a phrase none of whose nouns is seen; one whose nouns are all seen, or that has no known noun, weighs 1."""
MARGIN = 100.0
"""A phrase this many times as probable as the segment's own opens a new segment at once."""
SMOOTHING = 0.25
"""Time constant of the evidence, as a share of the time that a lead must hold."""
_ALTERNATIVES = 3


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PhraseBank:
    """filling: the P texts and their embeddings, as far as they are there.  mentions: (P, L), which labels of the
    vocabulary a phrase names; naming: the same.
    """

    filling: Filling
    mentions: npt.NDArray[np.bool_]
    naming: Naming = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "naming", Naming.of(self.mentions))

    @property
    def texts(self) -> Sequence[str]:
        """The P phrases."""
        return self.filling.texts

    @property
    def words(self) -> Sequence[str]:
        """Where labels are looked for: one text for each row of `mentions`."""
        return self.filling.texts

    @property
    def embeddings(self) -> FloatArray:
        """(M, D) of texts that say how well this bank fits a window in general."""
        filling = self.filling
        return filling.embeddings if filling.complete else filling.embeddings[filling.ready]

    def mentioned(self, phrase: int) -> npt.NDArray[np.bool_]:
        """(L,) labels that a phrase names."""
        named: npt.NDArray[np.bool_] = self.mentions[phrase]
        return named

    def log_probabilities(self, video: FloatArray, temperature: float, grounded: FloatArray | None) -> FloatArray:
        """(P,) log softmax of cosine / temperature, each phrase weighted by its grounding.

        `grounded` (L,) is the probability that a label is seen now; None for a model without entities.  A phrase with
        known nouns is weighted by 0.25 + 0.75 * (mean of `grounded` over its nouns).  A phrase that is not embedded yet
        counts as the opposite of what is seen.
        """
        fits = np.where(self.filling.ready, self.filling.embeddings @ video, -1.0)
        return log_softmax((fits / temperature + self.naming.weights(grounded)).astype(np.float32))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Naming:
    """Which of M texts name which labels, as (row, column) of what is true: a text names hardly more than two, so
    that no window has to look at M x L cells.  counts: (M,) labels that each text names.
    """

    rows: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]
    counts: npt.NDArray[np.intp]

    @staticmethod
    def of(mentions: npt.NDArray[np.bool_]) -> Naming:
        """From (M, L)."""
        rows, columns = np.nonzero(mentions)
        return Naming(rows=rows, columns=columns, counts=np.bincount(rows, minlength=len(mentions)))

    def weights(self, grounded: FloatArray | None) -> FloatArray:
        """(M,) logarithms of the weights of the texts when `grounded` (L,) says what is seen."""
        if grounded is None or not len(self.rows):
            return np.zeros(len(self.counts), np.float32)
        seen = np.bincount(self.rows, grounded[self.columns], len(self.counts)) / np.maximum(self.counts, 1)
        kept = np.where(self.counts > 0, UNGROUNDED + (1 - UNGROUNDED) * seen, 1.0)
        weights: FloatArray = np.log(kept).astype(np.float32)
        return weights


def find_mentions(texts: Sequence[str], labels: Sequence[str]) -> npt.NDArray[np.bool_]:
    """(P, L): the phrase names the label, as whole words, in singular or plural."""
    index = {tuple(_words(spoken(label))): i for i, label in enumerate(labels)}
    longest = max((len(words) for words in index), default=0)
    mentions = np.zeros((len(texts), len(labels)), bool)
    for row, text in enumerate(texts):
        words = _words(text)
        for size in range(1, longest + 1):
            for start in range(len(words) - size + 1):
                column = index.get(tuple(words[start : start + size]))
                if column is not None:
                    mentions[row, column] = True
    return mentions


def named_tracks(
    mentions: npt.NDArray[np.bool_], text: str, labels: Sequence[str], tracks: Sequence[Track]
) -> tuple[int, ...]:
    """Ids of the visible tracks that a phrase speaks of: those whose noun or query it names, and hands."""
    names = {labels[int(i)] for i in np.nonzero(mentions)[0]}
    words = f" {' '.join(_words(text))} "
    chosen = []
    for track in tracks:
        noun = track.hypotheses[0].label if track.hypotheses else track.label
        asked = track.query is not None and f" {' '.join(_words(track.query))} " in words
        if track.state in ("new", "tracked") and (noun in names or asked or "hand" in _words(noun)):
            chosen.append(track.id)
    return tuple(chosen)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CaptionBook:
    """The open segment and the evidence for all phrases.

    smoothed: (P,) log-probabilities averaged over time.  segment_id: 0 when no segment is open.  phrase: index of its
    text.  losing_ns: the middle of the first window since when another phrase is more probable, None while none is.
    updated_ns: the last hop.
    """

    smoothed: FloatArray
    next_id: int = 1
    segment_id: int = 0
    phrase: int = -1
    start_ns: int = 0
    end_ns: int = 0
    updated_ns: int = 0
    losing_ns: int | None = None
    score: float = 0.0
    track_ids: tuple[int, ...] = ()

    @staticmethod
    def empty(phrases: int, next_id: int = 1) -> CaptionBook:
        """No segment open, room for the evidence of `phrases`."""
        return CaptionBook(smoothed=np.zeros(phrases, np.float32), next_id=next_id)

    def update(
        self, log_probabilities: FloatArray, texts: Sequence[str], *, window_start_ns: int, stamp_ns: int, hold_s: float
    ) -> tuple[CaptionBook, tuple[Caption, ...]]:
        """One hop with the window's log-probabilities (P,); returns the book and the segment that it closed, if any.

        Evidence is averaged with time constant `SMOOTHING * hold_s`.  Another phrase opens a new segment when the
        segment's own has not been the best for `hold_s`, or at once when it is MARGIN times as probable.  Segments
        touch: the new one starts, and the old one ends, in the middle of the first window in which the old phrase was
        no longer the best, for that is the moment that a window speaks of.
        """
        if not self.segment_id:
            return self._opened(log_probabilities, window_start_ns, stamp_ns), ()
        constant_s = SMOOTHING * hold_s
        rate = 1.0 - np.exp((self.updated_ns - stamp_ns) / 1e9 / constant_s) if constant_s > 0 else 1.0
        smoothed = self.smoothed + np.float32(rate) * (log_probabilities - self.smoothed)
        best = int(smoothed.argmax())
        book = replace(self, smoothed=smoothed, updated_ns=stamp_ns, score=float(np.exp(smoothed[self.phrase])))
        if best == self.phrase:
            return replace(book, end_ns=stamp_ns, losing_ns=None), ()
        moment = (window_start_ns + stamp_ns) // 2
        since = moment if self.losing_ns is None else self.losing_ns
        lead = float(smoothed[best] - smoothed[self.phrase])
        if moment - since < hold_s * 1e9 and lead < np.log(MARGIN):
            return replace(book, losing_ns=since), ()
        since = max(since, self.start_ns)
        book, closed = replace(book, end_ns=since).close(texts)
        return book._opened(smoothed, since, stamp_ns), closed

    def caption(self, texts: Sequence[str], coverage: float = 1.0) -> Caption | None:
        """The open segment; its score is the smoothed probability times how much of the window is real."""
        if not self.segment_id:
            return None
        count = min(_ALTERNATIVES + 1, len(self.smoothed))
        others = np.argpartition(-self.smoothed, count - 1)[:count]
        others = others[np.lexsort((others, -self.smoothed[others]))]
        return Caption(
            segment_id=self.segment_id,
            text=texts[self.phrase],
            score=self.score * coverage,
            start_ns=self.start_ns,
            end_ns=self.end_ns,
            final=False,
            track_ids=self.track_ids,
            alternatives=tuple(
                Alternative(text=texts[i], score=float(np.exp(self.smoothed[i])) * coverage)
                for i in others
                if i != self.phrase
            )[:_ALTERNATIVES],
        )

    def close(self, texts: Sequence[str]) -> tuple[CaptionBook, tuple[Caption, ...]]:
        """The book without an open segment, and that segment with `final=True` (nothing when none is open)."""
        caption = self.caption(texts)
        if caption is None:
            return self, ()
        return replace(self, segment_id=0, track_ids=()), (replace(caption, final=True, alternatives=()),)

    def _opened(self, smoothed: FloatArray, start_ns: int, stamp_ns: int) -> CaptionBook:
        best = int(smoothed.argmax())
        return replace(
            self,
            smoothed=smoothed,
            next_id=self.next_id + 1,
            segment_id=self.next_id,
            phrase=best,
            start_ns=start_ns,
            end_ns=stamp_ns,
            updated_ns=stamp_ns,
            losing_ns=None,
            score=float(np.exp(smoothed[best])),
            track_ids=(),
        )


def _words(text: str) -> list[str]:
    """Lower-case words, each reduced from a plain plural: knives, dishes and cups match knife, dish and cup."""
    return [_singular(word) for word in re.findall(r"[\w'-]+", text.lower())]


def _singular(word: str) -> str:
    if word.endswith("ives"):
        return f"{word[:-4]}ife"
    if word.endswith(("ches", "shes", "xes", "sses", "toes")):
        return word[:-2]
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3 else word


def log_softmax(logits: FloatArray) -> FloatArray:
    """Over a vector."""
    shifted = logits - logits.max()
    result: FloatArray = (shifted - np.log(np.exp(shifted).sum())).astype(np.float32)
    return result
