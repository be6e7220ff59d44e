"""Who touches what: relations between the tracks that a hop shows, continued over time.

hand —contacts→ thing, and thing —on→ thing: it lies over the other and hides a part of it.  Evidence
(`relation_evidence`) is smoothed over time; its weighted sum is the log-odds of the relation (`relation_weights`).  A
relation begins and ends at different probabilities, so that it does not flicker.

Shapes: `K` pairs of a hop, `F` kinds of evidence, `P` pairs that a book has room for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from henasy_stream.stream.relation_evidence import (
    CONTACT_EVIDENCE,
    ON_EVIDENCE,
    Float64Array,
    Int64Array,
    Pairs,
    Sight,
    contact_evidence,
    on_evidence,
)
from henasy_stream.stream.relation_weights import RelationWeights, Weights
from henasy_stream.types import Relation

ROOM = 64
"""Pairs of each predicate that are followed: those that are the likeliest now."""
START, STOP = 0.4, 0.25
"""Probabilities at which a relation begins and below which it ends."""
SMOOTHING_S = 0.3
"""Time constant of the evidence, in seconds of acquisition time."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairBook:
    """P pairs of one predicate.  ids: (P, 2), 0 for a free row.  evidence: (P, F), smoothed.  score: (P,).
    start_ns: (P,) since when the relation holds, -1 while it does not.
    """

    ids: Int64Array
    evidence: Float64Array
    score: Float64Array
    start_ns: Int64Array

    @staticmethod
    def empty(kinds: int) -> PairBook:
        """No pair is known."""
        return PairBook(
            ids=np.zeros((ROOM, 2), np.int64),
            evidence=np.zeros((ROOM, kinds)),
            score=np.zeros(ROOM),
            start_ns=np.full(ROOM, -1, np.int64),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RelationBook:
    """What a stream remembers of pairs.  stamp_ns: of the last hop."""

    contacts: PairBook
    on: PairBook
    stamp_ns: int = 0

    @staticmethod
    def empty() -> RelationBook:
        """Before the first hop."""
        return RelationBook(contacts=PairBook.empty(len(CONTACT_EVIDENCE)), on=PairBook.empty(len(ON_EVIDENCE)))


def probability(evidence: Float64Array, weights: Weights) -> Float64Array:
    """(K,) of pairs with (K, F) evidence."""
    logits = evidence @ np.array(weights.evidence) + weights.offset
    result: Float64Array = 1 / (1 + np.exp(-np.clip(logits, -50, 50)))
    return result


def smoothing_rate(passed_ns: int) -> float:
    """Share of the new evidence in the smoothed one, 0..1, when the last hop was that long ago."""
    return float(-np.expm1(-max(passed_ns, 0) / 1e9 / SMOOTHING_S))


def follow(book: PairBook, pairs: Pairs, weights: Weights, *, rate: float, now_ns: int) -> PairBook:
    """One hop of one predicate: pairs that are not seen any more are forgotten.

    Args:
        book: is not changed.
        pairs: of this hop.
        weights: of the evidence.
        rate: share of the new evidence in the smoothed one, 0..1.
        now_ns: stamp of the hop.
    """
    kept = np.argsort(-probability(pairs.evidence, weights), kind="stable")[:ROOM]
    ids, now, count = pairs.ids[kept], pairs.evidence[kept], len(kept)
    same = (ids[:, None] == book.ids).all(-1)  # K P
    known, row = same.any(1), same.argmax(1)
    evidence = np.where(known[:, None], (1 - rate) * book.evidence[row] + rate * now, now)
    score = probability(evidence, weights)
    start = np.where(known, book.start_ns[row], -1)
    start = np.where(start >= 0, np.where(score < STOP, -1, start), np.where(score >= START, now_ns, -1))
    result = PairBook.empty(book.evidence.shape[1])
    result.ids[:count], result.evidence[:count] = ids, evidence
    result.score[:count], result.start_ns[:count] = score, start
    return result


def relate(
    book: RelationBook, sight: Sight, weights: RelationWeights, now_ns: int
) -> tuple[RelationBook, tuple[Relation, ...]]:
    """One hop: the next book, and the relations that hold, the surest first."""
    rate = smoothing_rate(now_ns - book.stamp_ns)
    book = replace(
        book,
        contacts=follow(book.contacts, contact_evidence(sight), weights.contacts, rate=rate, now_ns=now_ns),
        on=follow(book.on, on_evidence(sight), weights.on, rate=rate, now_ns=now_ns),
        stamp_ns=now_ns,
    )
    found = [
        Relation(
            subject_id=int(pairs.ids[row, 0]),
            predicate=predicate,
            object_id=int(pairs.ids[row, 1]),
            score=float(pairs.score[row]),
            start_ns=int(pairs.start_ns[row]),
        )
        for predicate, pairs in (("contacts", book.contacts), ("on", book.on))
        for row in np.nonzero(pairs.start_ns >= 0)[0]
    ]
    return book, tuple(sorted(found, key=lambda relation: -relation.score))
