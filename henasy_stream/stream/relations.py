"""Who touches what: relations between the tracks that a hop shows, continued over time.

hand —contacts→ thing.  Evidence (`relation_evidence`) is smoothed over time; its weighted sum is the log-odds of the
relation (`relation_weights`).  A relation begins and ends at different probabilities, so that it does not flicker.

Shapes: `K` pairs of a hop, `F` kinds of evidence, `P` pairs that a book has room for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from henasy_stream.stream.relation_evidence import (
    CONTACT_EVIDENCE,
    Float64Array,
    Int64Array,
    Pairs,
    Sight,
    contact_evidence,
)
from henasy_stream.stream.relation_weights import Weights
from henasy_stream.types import Relation

CONTACTS = "contacts"
ROOM = 64
"""Pairs that are followed: those that are the likeliest now."""
START, STOP = 0.4, 0.25
"""Probabilities at which a relation begins and below which it ends."""
SMOOTHING_S = 0.3
"""Time constant of the evidence, in seconds of acquisition time."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RelationBook:
    """What a stream remembers of P pairs.

    ids: (P, 2) of subject and object, 0 for a free row.  evidence: (P, F), smoothed.  score: (P,).  start_ns: (P,)
    since when the relation holds, -1 while it does not.  stamp_ns: of the last hop.
    """

    ids: Int64Array
    evidence: Float64Array
    score: Float64Array
    start_ns: Int64Array
    stamp_ns: int

    @staticmethod
    def empty(kinds: int = len(CONTACT_EVIDENCE), stamp_ns: int = 0) -> RelationBook:
        """No pair is known."""
        return RelationBook(
            ids=np.zeros((ROOM, 2), np.int64),
            evidence=np.zeros((ROOM, kinds)),
            score=np.zeros(ROOM),
            start_ns=np.full(ROOM, -1, np.int64),
            stamp_ns=stamp_ns,
        )


def probability(evidence: Float64Array, weights: Weights) -> Float64Array:
    """(K,) of pairs with (K, F) evidence."""
    logits = evidence @ np.array(weights.evidence) + weights.offset
    result: Float64Array = 1 / (1 + np.exp(-np.clip(logits, -50, 50)))
    return result


def follow(book: RelationBook, pairs: Pairs, weights: Weights, now_ns: int) -> RelationBook:
    """The next book, of a hop at `now_ns` that shows these pairs; others are forgotten."""
    kept = np.argsort(-probability(pairs.evidence, weights), kind="stable")[:ROOM]
    ids, now, count = pairs.ids[kept], pairs.evidence[kept], len(kept)
    same = (ids[:, None] == book.ids).all(-1)  # K P
    known, row = same.any(1), same.argmax(1)
    rate = -np.expm1(-max(now_ns - book.stamp_ns, 0) / 1e9 / SMOOTHING_S)
    evidence = np.where(known[:, None], (1 - rate) * book.evidence[row] + rate * now, now)
    score = probability(evidence, weights)
    start = np.where(known, book.start_ns[row], -1)
    start = np.where(start >= 0, np.where(score < STOP, -1, start), np.where(score >= START, now_ns, -1))
    result = RelationBook.empty(book.evidence.shape[1], now_ns)
    result.ids[:count], result.evidence[:count] = ids, evidence
    result.score[:count], result.start_ns[:count] = score, start
    return result


def relate(
    book: RelationBook, sight: Sight, weights: Weights, now_ns: int
) -> tuple[RelationBook, tuple[Relation, ...]]:
    """One hop: the next book, and the relations that hold, the surest first."""
    book = follow(book, contact_evidence(sight), weights, now_ns)
    found = [
        Relation(
            subject_id=int(book.ids[row, 0]),
            predicate=CONTACTS,
            object_id=int(book.ids[row, 1]),
            score=float(book.score[row]),
            start_ns=int(book.start_ns[row]),
        )
        for row in np.nonzero(book.start_ns >= 0)[0]
    ]
    return book, tuple(sorted(found, key=lambda relation: -relation.score))
