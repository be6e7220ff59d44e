"""What users are told about their queries: one answer for each at every hop, "absent" included.

Shapes: `N` visible tracks, `P` phrases, `D` width of the embedding.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from henasy_stream.stream.actions import Action, acting
from henasy_stream.stream.association import IntpArray
from henasy_stream.stream.queries import QueryBank, probability
from henasy_stream.stream.tracks import NEW, TRACKED, TrackBook
from henasy_stream.types import Calibration, FloatArray, QueryAnswer

_NOTHING = -10.0  # log odds of a query where nothing is seen


def answers(book: TrackBook, bank: QueryBank, video: FloatArray) -> tuple[QueryAnswer, ...]:
    """One answer a query, from a book whose tracks have their queries (`answer`) and the window's embedding (D,).

    A thing is present when a visible track is what the query says; all that are answer, first the one that carries the
    query's name.  An action is present by what the whole window shows; the tracks that act answer.
    """
    visible = book.rows(NEW, TRACKED)
    scores = bank.scores(book.embedding[visible])
    return tuple(
        _thing(book, bank, column, visible, scores[:, column])
        if (action := bank.action(column)) is None
        else _action(book, bank, column, action, visible, video)
        for column in range(len(bank.texts))
    )


def frame_answers(bank: QueryBank, video: FloatArray, phrases: FloatArray) -> tuple[QueryAnswer, ...]:
    """One answer a query for the whole window, for models without entities; see `QueryBank.whole_frame_scores`."""
    return tuple(
        QueryAnswer(text=text, kind=_kind(bank, column), present=bool(score >= 0.5), score=float(score))
        for column, (text, score) in enumerate(zip(bank.texts, bank.whole_frame_scores(video, phrases), strict=True))
    )


def absent(bank: QueryBank) -> tuple[QueryAnswer, ...]:
    """The answers before anything was seen."""
    return tuple(
        QueryAnswer(text=text, kind=_kind(bank, column), present=False, score=0.0)
        for column, text in enumerate(bank.texts)
    )


def _kind(bank: QueryBank, column: int) -> Literal["entity", "action"]:
    return "entity" if bank.action(column) is None else "action"


def _thing(book: TrackBook, bank: QueryBank, column: int, rows: IntpArray, scores: FloatArray) -> QueryAnswer:
    text, threshold = bank.texts[column], bank.entity.threshold
    named = np.array([book.queries[row] == text for row in rows], bool)
    good = named | (scores >= threshold)
    order = np.lexsort((-scores, ~named))
    chosen = [i for i in order if good[i]]
    nothing = float(probability(_NOTHING, bank.entity))
    return QueryAnswer(
        text=text,
        kind="entity",
        present=bool(chosen),
        score=float(scores.max(initial=nothing)),
        calibrated=bank.calibration is not None,
        track_ids=tuple(int(book.ids[rows[i]]) for i in chosen),
        track_scores=tuple(float(scores[i]) for i in chosen),
    )


def _action(
    book: TrackBook, bank: QueryBank, column: int, action: Action, rows: IntpArray, video: FloatArray
) -> QueryAnswer:
    calibration = Calibration() if bank.calibration is None else bank.calibration.action
    score = float(probability(action.logit(video, bank.temperature), calibration))
    present = score >= calibration.threshold
    weights = action.weights(book.embedding[rows], video, bank.temperature)
    chosen = acting(weights)[: len(weights) if present else 0]
    return QueryAnswer(
        text=bank.texts[column],
        kind="action",
        present=present,
        score=score,
        calibrated=bank.calibration is not None,
        track_ids=tuple(int(book.ids[rows[i]]) for i in chosen),
        track_scores=tuple(float(weights[i]) for i in chosen),
    )
