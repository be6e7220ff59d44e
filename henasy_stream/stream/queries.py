"""Free-text queries: which track answers the user's words, and how sure that is.

Shapes: `M` rows of the track book, `Q` queries, `R` rival texts, `P` phrases, `D` width of the embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from henasy_stream.stream.actions import SYNONYM, Action
from henasy_stream.stream.association import associate
from henasy_stream.stream.tracks import LOST, NEW, TRACKED, TrackBook
from henasy_stream.types import Calibration, FloatArray, QueryCalibration

FALLBACK_RIVALS = ("object", "hand", "background")
"""What a query is compared with when the weights come without a vocabulary."""
KEEP = 0.6
"""A track begins to answer a query at the threshold of its score, and stops below this share of it."""
_LOYALTY = 0.2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class QueryBank:
    """embeddings: (Q, D) of `texts`; rivals: (R, D) of the things they compete with; actions: (Q,) what those among
    them mean that name no thing; calibration: None where nobody has measured one; unknown:
    (Q,) texts of whose words the weights know none, which are therefore not looked for.
    """

    texts: tuple[str, ...]
    embeddings: FloatArray
    rivals: FloatArray
    temperature: float
    actions: tuple[Action | None, ...] = ()
    calibration: QueryCalibration | None = None
    unknown: tuple[bool, ...] = ()

    def action(self, column: int) -> Action | None:
        """What query `column` means, if it names an action."""
        return self.actions[column] if self.actions else None

    @property
    def entity(self) -> Calibration:
        """Of scores of things."""
        return Calibration() if self.calibration is None else self.calibration.entity

    def logits(self, embeddings: FloatArray) -> FloatArray:
        """(N, Q) log odds that an entity (N, D) is what the query says and not what a rival says.

        A rival whose cosine with the query is 0.9 or more means the same and is left out.
        """
        own = embeddings @ self.embeddings.T / self.temperature
        others = embeddings @ self.rivals.T / self.temperature
        rival = (self.embeddings @ self.rivals.T) < SYNONYM
        result: FloatArray = own - np.logaddexp.reduce(np.where(rival[None], others[:, None], -np.inf), -1)
        return result

    def scores(self, embeddings: FloatArray) -> FloatArray:
        """(N, Q) probability that an entity (N, D) is what the query says; 0 for actions, which no thing is, and for
        unknown texts.
        """
        things = [self.action(column) is None for column in range(len(self.texts))]
        sought = np.array(things, bool) & ~np.array(self.unknown or [False] * len(self.texts), bool)
        return np.where(sought, probability(self.logits(embeddings), self.entity), np.float32(0.0))

    def whole_frame_scores(self, video: FloatArray, phrases: FloatArray) -> FloatArray:
        """(Q,) scores in 0..1 of the queries for a whole window, for models without entities.

        A sigmoid of (cosine - c) / temperature, where c lies halfway between the median and the best cosine of the
        caption bank (P, D): a query as good as an average phrase scores low, one as good as the best phrase high.
        """
        bank = phrases @ video
        middle = (float(np.median(bank)) + float(bank.max())) / 2
        logits = (self.embeddings @ video - middle) / self.temperature
        result: FloatArray = (1.0 / (1.0 + np.exp(-np.clip(logits, -60, 60)))).astype(np.float32)
        return result


def probability(logits: FloatArray | float, calibration: Calibration) -> FloatArray:
    """Of log odds, of any shape."""
    shifted = calibration.slope * np.asarray(logits, np.float64) + calibration.offset
    result: FloatArray = (1.0 / (1.0 + np.exp(-np.clip(shifted, -60, 60)))).astype(np.float32)
    return result


def clean_queries(texts: Sequence[str]) -> tuple[str, ...]:
    """The queries without surrounding blanks, empty ones and repetitions, in the user's order."""
    return tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))


def answer(book: TrackBook, bank: QueryBank) -> TrackBook:
    """The book with `queries` and `query_score` renewed.

    Every query is answered by at most one track and every track answers at most one query, by largest total score, so
    of two queries that mean the same thing only the better one is answered.  The track keeps its id; a lost track keeps
    its query until a visible one answers it.
    """
    queries: list[str | None] = [None] * len(book.stage)
    query_score = np.zeros(len(book.stage), np.float32)
    visible, lost = book.rows(NEW, TRACKED), book.rows(LOST)
    if bank.texts and len(visible):
        scores = bank.scores(book.embedding[visible])
        bound = np.array([[book.queries[row] == text for text in bank.texts] for row in visible])
        least = bank.entity.threshold * np.where(bound, KEEP, 1.0)
        rows, columns = associate(
            np.where(scores >= least, scores + _LOYALTY * bound, 0.0).astype(np.float32),
            bank.entity.threshold * KEEP,
        )
        for row, column in zip(rows, columns, strict=True):
            queries[visible[row]] = bank.texts[column]
            query_score[visible[row]] = scores[row, column]
    for row in lost:
        text = book.queries[row]
        if text in bank.texts and text not in queries:
            queries[row], query_score[row] = text, book.query_score[row]
    return replace(book, queries=tuple(queries), query_score=query_score)
