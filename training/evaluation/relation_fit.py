"""Weights of the evidence: a logistic regression on what the node itself sees, smoothed as there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from henasy_stream.backends.base import Backend
from henasy_stream.stream.relation_evidence import CONTACT_EVIDENCE, Float64Array
from henasy_stream.stream.relation_weights import Weights
from henasy_stream.stream.relations import CONTACTS, RelationBook, follow
from training.evaluation.relation_extras import ATTENTION, MOTION
from training.evaluation.relation_recording import RelationHop
from training.evaluation.relations import Answer, Candidates, score_answer, streams

_RIDGE = 1.0
_PLACE = list(range(len(CONTACT_EVIDENCE)))
_ATTENTION = [len(_PLACE) + k for k in range(len(ATTENTION))]
_MOTION = [len(_PLACE) + len(_ATTENTION) + k for k in range(len(MOTION))]
ABLATION = {
    "masks and boxes": _PLACE,
    "attention": _ATTENTION,
    "motion": _MOTION,
    "masks, boxes and attention": _PLACE + _ATTENTION,
    "masks, boxes and motion": _PLACE + _MOTION,
    "all": _PLACE + _ATTENTION + _MOTION,
}


def fit(hops: Sequence[RelationHop], columns: Sequence[int]) -> Weights:
    """The weights of some columns of the evidence that explain the contacts of these hops best."""
    rows, marks = [], []
    even = Weights(evidence=(0.0,) * len(columns), offset=0.0)
    for hop, book in zip(hops, replay(hops, columns, even), strict=True):
        used = np.nonzero(book.ids[:, 0])[0]
        rows.append(book.evidence[used])
        marks += [tuple(map(hop.owner.get, pair)) in hop.truth[CONTACTS] for pair in book.ids[used].tolist()]
    return logistic(np.concatenate(rows), np.array(marks, bool))


def replay(hops: Sequence[RelationHop], columns: Sequence[int], weights: Weights) -> list[RelationBook]:
    """The books that streams of hops would have gone through with these columns of evidence."""
    books: list[RelationBook] = []
    book = RelationBook.empty(len(columns))
    for hop in hops:
        if hop.stamp_ns <= book.stamp_ns:  # the next stream
            book = RelationBook.empty(len(columns))
        pairs = replace(hop.evidence, evidence=hop.evidence.evidence[:, columns])
        book = follow(book, pairs, weights, hop.stamp_ns)
        books.append(book)
    return books


def logistic(evidence: Float64Array, true: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Weights:
    """Maximum of the likelihood of (K, F) evidence, with a small ridge on standardised evidence, by Newton's method."""
    middle, spread = evidence.mean(0), evidence.std(0) + 1e-6
    inputs = np.concatenate([(evidence - middle) / spread, np.ones((len(evidence), 1))], 1)
    ridge = np.diag([_RIDGE] * evidence.shape[1] + [1e-6])
    found = np.zeros(inputs.shape[1])
    for _ in range(50):
        probability = 1 / (1 + np.exp(-np.clip(inputs @ found, -30, 30)))
        slope = inputs.T @ (probability - true) + ridge @ found
        curve = (inputs * (probability * (1 - probability))[:, None]).T @ inputs + ridge
        step = np.linalg.solve(curve, slope)
        found -= step
        if np.abs(step).max() < 1e-8:
            break
    weights = found[:-1] / spread
    return Weights(evidence=tuple(weights.tolist()), offset=float(found[-1] - weights @ middle))


def score_ablation(
    backend: Backend, *, seeds: Sequence[int], fitted_on: Sequence[int], seconds: float
) -> dict[str, dict[str, float]]:
    """Contacts by what they are told from: each fitted on validation streams and scored on held-out ones."""
    known = streams(backend, fitted_on, seconds, split="validation")
    hops = streams(backend, seeds, seconds)
    scores = {}
    for name, columns in ABLATION.items():
        books = replay(hops, columns, fit(known, columns))
        scores[f"contacts told from {name}"] = score_answer(hops, _answer(hops, books), CONTACTS).as_dict()
    return scores


def _answer(hops: Sequence[RelationHop], books: Sequence[RelationBook]) -> Answer:
    found = {id(hop): _candidates(book) for hop, book in zip(hops, books, strict=True)}
    return lambda hop, _: found[id(hop)]


def _candidates(book: RelationBook) -> Candidates:
    return [
        ((int(book.ids[row, 0]), int(book.ids[row, 1])), float(book.score[row]), bool(book.start_ns[row] >= 0))
        for row in np.nonzero(book.ids[:, 0])[0]
    ]
