"""The life of a track: born after some hits, tracked, lost for some seconds, removed once.

    (tentative) -> new -> tracked <-> lost -> removed

A tentative track has no id and is not published.  Ids count up from 1 and never come back within a session.  Times are
acquisition stamps; how long a track stays lost is measured in seconds, whatever the hop.

Shapes: `M` rows of the book, `N` detections, `T` frames of a window, `h, w` mask grid, `L` labels, `D` embedding.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from henasy_stream.stream.association import Affinity, associate, gather, middles
from henasy_stream.stream.entities import Detections
from henasy_stream.stream.parts import MOST_PARTS
from henasy_stream.types import FloatArray, UInt8Array

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
IntpArray = npt.NDArray[np.intp]

FREE, TENTATIVE, NEW, TRACKED, LOST, REMOVED = range(6)

_APPEARANCE_RATE = 0.1
_LABEL_RATE = 0.2
_SCORE_RATE = 0.5
_VELOCITY_RATE = 0.5
_HOME_RATE = 0.06
_LEAST_PROBABILITY = 1e-4  # one window can not rule a label out


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackRules:
    """birth_hits: hops in which an entity must be seen before it is published; lost_s: seconds before it is removed."""

    birth_hits: int = 2
    lost_s: float = 10.0
    affinity: Affinity = field(default_factory=Affinity)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrackBook:
    """M rows of fixed size; `stage` says which are in use.

    ids, stage, hits, first_ns, last_ns: (M,).  boxes: (M, 4) source pixels when last seen; velocity: (M, 4) pixels a
    second; home: (M, 2) the slow average of its middle: heads turn back, and the left hand is mostly on the left.
    embedding: (M, D), the slow average of what it looks like.  evidence: (M, L) averaged log-probability of
    the labels.  score: (M,) smoothed presence.  masks: (M, T, h, w) and mask_stamps: (M, T) of the window in which it
    was last seen, and slot: (M,) which slot that was, -1 for none.  queries: the user's text that a row answers, with
    query_score: (M,).
    """

    next_id: int
    ids: Int64Array
    stage: UInt8Array
    hits: Int64Array
    first_ns: Int64Array
    last_ns: Int64Array
    boxes: Float64Array
    velocity: Float64Array
    home: Float64Array
    embedding: FloatArray
    evidence: FloatArray
    score: FloatArray
    masks: FloatArray
    mask_stamps: Int64Array
    slot: IntpArray
    query_score: FloatArray
    queries: tuple[str | None, ...]

    @staticmethod
    def empty(*, num_entities: int, num_frames: int, grid: int, labels: int, width: int, next_id: int = 1) -> TrackBook:
        """Room for what E slots can show now, `MOST_PARTS` each, and for twice as many lost tracks."""
        rows = 4 * MOST_PARTS * num_entities
        return TrackBook(
            next_id=next_id,
            ids=np.zeros(rows, np.int64),
            stage=np.zeros(rows, np.uint8),
            hits=np.zeros(rows, np.int64),
            first_ns=np.zeros(rows, np.int64),
            last_ns=np.zeros(rows, np.int64),
            boxes=np.zeros((rows, 4)),
            velocity=np.zeros((rows, 4)),
            home=np.zeros((rows, 2)),
            embedding=np.zeros((rows, width), np.float32),
            evidence=np.zeros((rows, labels), np.float32),
            score=np.zeros(rows, np.float32),
            masks=np.zeros((rows, num_frames, grid, grid), np.float32),
            mask_stamps=np.zeros((rows, num_frames), np.int64),
            slot=np.full(rows, -1, np.intp),
            query_score=np.zeros(rows, np.float32),
            queries=(None,) * rows,
        )

    def rows(self, *stages: int) -> IntpArray:
        """The rows in one of `stages`."""
        return np.nonzero((self.stage[:, None] == stages).any(1))[0]

    def copy(self) -> TrackBook:
        """The same book with its own arrays."""
        arrays: dict[str, Any] = {
            item.name: value.copy()
            for item in fields(self)
            if isinstance(value := getattr(self, item.name), np.ndarray)
        }
        return replace(self, **arrays)


def label_probabilities(evidence: FloatArray) -> FloatArray:
    """(M, L) from accumulated evidence (M, L)."""
    if not evidence.shape[-1]:
        return evidence
    weights = np.exp(evidence - evidence.max(-1, keepdims=True))
    result: FloatArray = weights / weights.sum(-1, keepdims=True)
    return result


def end_all(book: TrackBook) -> TrackBook:
    """The book after a reset: every published track is removed, tentative ones are forgotten."""
    stage = np.zeros_like(book.stage)
    stage[book.rows(NEW, TRACKED, LOST)] = REMOVED
    return replace(book, stage=stage)


def in_use(book: TrackBook) -> IntpArray:
    """The rows that stand for something."""
    return book.rows(TENTATIVE, NEW, TRACKED, LOST)


def hold(book: TrackBook) -> TrackBook:
    """The book of a hop that looked at nothing new."""
    stage = book.stage.copy()
    stage[book.rows(NEW)] = TRACKED
    stage[book.rows(REMOVED)] = FREE
    return replace(book, stage=stage)


def advance(
    book: TrackBook, detections: Detections, stamps: Int64Array, rules: TrackRules, *, first: bool = False
) -> tuple[TrackBook, IntpArray]:
    """One hop: matches detections with tracks and moves every track along its life.

    Tracks that were seen in the last hop and lost ones (re-identification) choose together, the rest is born.

    Args:
        book: is not changed.
        detections: of the new window.
        stamps: (T,) of the new window's samples.
        rules: times and thresholds.
        first: the first hop after a start or reset, in which births are published at once: there is nothing that a
            second look could be compared with, and a single picture has no second look.

    Returns:
        The next book, and (M,) which detection each row was given, -1 for none.  Rows in stage REMOVED are removed by
        this hop and freed by the next.
    """
    book = book.copy()
    book.stage[book.stage == REMOVED] = FREE
    now = int(stamps[-1])
    seen = np.full(len(book.stage), -1, np.intp)
    rows = in_use(book)
    if len(rows) and len(detections):
        labels = label_probabilities(book.evidence[rows])
        evidence = gather(book, rows, labels, detections, stamps, rules.affinity.reach)
        chosen, columns = associate(rules.affinity.combine(evidence))
        seen[rows[chosen]] = columns
    unclaimed = np.setdiff1d(np.arange(len(detections)), seen)

    matched = np.nonzero(seen >= 0)[0]
    _renew(book, matched, detections, seen[matched], stamps)
    born = book.rows(FREE)[: len(unclaimed)]
    seen[born] = unclaimed[: len(born)]
    _begin(book, born, detections, seen[born], stamps)

    next_id = book.next_id
    for row in np.nonzero(seen >= 0)[0]:
        stage = int(book.stage[row])
        if stage in (FREE, TENTATIVE):
            ripe = first or book.hits[row] >= rules.birth_hits
            book.stage[row] = NEW if ripe else TENTATIVE
            if ripe:
                book.ids[row] = next_id
                next_id += 1
        else:
            book.stage[row] = TRACKED
    missed = np.nonzero((book.stage != FREE) & (seen < 0))[0]
    book.stage[missed] = np.where(book.stage[missed] == TENTATIVE, FREE, LOST)
    lost = book.rows(LOST)
    book.stage[lost[now - book.last_ns[lost] > rules.lost_s * 1e9]] = REMOVED
    # the next hop must find a free row for every slot
    lost = book.rows(LOST)
    surplus = len(lost) - len(book.stage) // 2
    if surplus > 0:
        book.stage[lost[np.argsort(book.last_ns[lost], kind="stable")[:surplus]]] = REMOVED
    return replace(book, next_id=next_id), seen


def _renew(book: TrackBook, rows: IntpArray, detections: Detections, columns: IntpArray, stamps: Int64Array) -> None:
    """Updates rows in place with the detections that continue them."""
    if not len(rows):
        return
    age = np.maximum((int(stamps[-1]) - book.last_ns[rows]) / 1e9, 1e-6)[:, None]
    measured = (detections.boxes[columns] - book.boxes[rows]) / age
    measured[book.stage[rows] == LOST] = 0.0  # how it moved while nobody saw it is unknown
    rate = np.where(book.hits[rows, None] == 1, 1.0, _VELOCITY_RATE)
    book.velocity[rows] += rate * (measured - book.velocity[rows])
    book.hits[rows] += 1
    hits = book.hits[rows, None].astype(np.float32)
    book.home[rows] += np.maximum(1 / hits, _HOME_RATE) * (middles(detections.boxes[columns]) - book.home[rows])
    blended = book.embedding[rows]
    blended = blended + np.maximum(1 / hits, _APPEARANCE_RATE) * (detections.embeddings[columns] - blended)
    book.embedding[rows] = blended / np.maximum(np.linalg.norm(blended, axis=1, keepdims=True), 1e-6)
    evidence = np.log(np.maximum(detections.labels[columns], _LEAST_PROBABILITY))
    book.evidence[rows] += np.maximum(1 / hits, _LABEL_RATE) * (evidence - book.evidence[rows])
    book.score[rows] += _SCORE_RATE * (detections.presence[columns] - book.score[rows])
    _place(book, rows, detections, columns, stamps)


def _begin(book: TrackBook, rows: IntpArray, detections: Detections, columns: IntpArray, stamps: Int64Array) -> None:
    """Fills free rows in place."""
    book.ids[rows] = 0
    book.hits[rows] = 1
    book.first_ns[rows] = stamps[-1]
    book.velocity[rows] = 0.0
    book.home[rows] = middles(detections.boxes[columns])
    book.embedding[rows] = detections.embeddings[columns]
    book.evidence[rows] = np.log(np.maximum(detections.labels[columns], _LEAST_PROBABILITY))
    book.score[rows] = detections.presence[columns]
    book.query_score[rows] = 0.0
    _place(book, rows, detections, columns, stamps)


def _place(book: TrackBook, rows: IntpArray, detections: Detections, columns: IntpArray, stamps: Int64Array) -> None:
    book.last_ns[rows] = stamps[-1]
    book.boxes[rows] = detections.boxes[columns]
    book.masks[rows] = detections.masks[columns]
    book.mask_stamps[rows] = stamps
    book.slot[rows] = detections.slots[columns]
