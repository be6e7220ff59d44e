"""Boxes of a user's own detector as detections of the tracker, and the tracks as users meet them.

The tracker is the one of the network's own entities.  What differs is the evidence: boxes and names in place of masks
and appearance, and names that no vocabulary knows beforehand.  So the book has one column of evidence for each name
that is in use, and what a name means (its embedding, the phrases that say it) is looked up when it first comes.

Shapes: `M` rows of the book, `N` boxes, `L` columns for names, `P` phrases, `D` width of the embedding.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from henasy_stream.backends.base import Backend
from henasy_stream.config import StreamConfig
from henasy_stream.preprocess import View, clip_boxes, transform_boxes
from henasy_stream.stream.association import Affinity
from henasy_stream.stream.captions import find_mentions
from henasy_stream.stream.entities import Detections, mask_to_source
from henasy_stream.stream.outside import OutsideBook, take_columns
from henasy_stream.stream.publish import UNNAMED, publish
from henasy_stream.stream.queries import QueryBank, answer
from henasy_stream.stream.reading import Found, Window
from henasy_stream.stream.texts import Texts
from henasy_stream.stream.tracks import (
    NEW,
    TRACKED,
    IntpArray,
    TrackBook,
    TrackRules,
    advance,
    hold,
    in_use,
    label_probabilities,
)
from henasy_stream.types import EntityBoxes, FloatArray, Masks, Track

BoolArray = npt.NDArray[np.bool_]

MOST_BOXES = 64
"""Boxes of one moment that are read; the best by score."""
MOST_NAMES = 64
"""Names that tracks may have at one time; a further one is tracked as "entity" until another is free."""
GRID = 48

_AFFINITY = Affinity(mask=0.0, place=0.6, appearance=0.0, label=0.4, fade_s=np.inf, least_apart=0.35, least_alike=0.0)
"""A box goes on a track by its place and its name; either alone will do, so that neither a detector that wavers between
two names nor a thing that comes back elsewhere changes the id."""
_LEAST_HYPOTHESIS = 0.01
_LARGE = 0.4  # a box as large as the view loses so much of its probability: of two that overlap the smaller is in front


class Names:
    """What names mean to a model: nothing but the texts decides, so it is looked up once and kept.

    `vocabulary`: the model's own labels.  `texts(names)`: the stream's texts with `names` (L,) for the vocabulary.
    """

    def __init__(self, backend: Backend, texts: Texts) -> None:
        self.vocabulary = texts.vocabulary.labels
        self._texts = texts
        phrases, width = texts.bank.words, texts.bank.embeddings.shape[1]
        self._blank = np.zeros(width, np.float32)
        self._embed = lru_cache(4 * MOST_NAMES)(lambda name: backend.embed_texts((name,))[0])
        self._find = lru_cache(4 * MOST_NAMES)(lambda name: find_mentions(phrases, (name,))[:, 0])
        self.texts = lru_cache(2)(self._texts_of)

    def embeddings(self, names: tuple[str, ...]) -> FloatArray:
        """(L, D); zeros for free columns."""
        return np.stack([self._embed(name) if name else self._blank for name in names]).astype(np.float32)

    def _texts_of(self, names: tuple[str, ...]) -> Texts:
        """The stream's texts with `names` for the vocabulary of slots."""
        nothing = np.zeros(len(self._texts.bank.words), bool)
        mentions = np.stack([self._find(name) if name and name != UNNAMED else nothing for name in names], 1)
        vocabulary = replace(self._texts.vocabulary, labels=names, embeddings=self.embeddings(names))
        return replace(self._texts, vocabulary=vocabulary, bank=replace(self._texts.bank, mentions=mentions))


def empty_outside() -> OutsideBook:
    """Nothing has come yet."""
    return OutsideBook(names=(UNNAMED,) + ("",) * (MOST_NAMES - 1))


def empty_tracks(width: int, next_id: int) -> TrackBook:
    """A book for `MOST_BOXES` boxes; masks are drawn from its boxes and not kept."""
    return TrackBook.empty(
        num_entities=MOST_BOXES, num_frames=1, grid=0, labels=MOST_NAMES, width=width, next_id=next_id
    )


def read_outside(
    book: TrackBook,
    outside: OutsideBook,
    window: Window,
    names: Names,
    queries: QueryBank,
    config: StreamConfig,
    *,
    slack_ns: int,
) -> tuple[TrackBook, OutsideBook, Found]:
    """One hop: reads the newest boxes of the window.  Returns the next books and what they show.

    When nothing newer than at the last hop has come, tracks stay as they are while the boxes that were read last still
    belong to the window; after that they are lost.
    """
    rules = TrackRules(birth_hits=config.birth_hits, lost_s=config.lost_s, affinity=_AFFINITY)
    stamps, view = window.stamps, window.view
    outside, chosen = outside.choose(stamps, slack_ns)
    if chosen is None and outside.read_ns is not None and outside.read_ns >= int(stamps[0]) - slack_ns:
        book = hold(book)
    else:
        moment_ns = int(stamps[-1]) if chosen is None else min(chosen.stamp_ns, int(stamps[-1]))
        outside, detections = _detections(book, outside, chosen, names, view, config.presence)
        book, _ = advance(book, detections, np.array([moment_ns], np.int64), rules, first=window.first)
    book = answer(book, queries)
    shown = book.rows(NEW, TRACKED)
    seen = np.full(len(book.stage), -1, np.intp)
    seen[shown] = np.arange(len(shown))
    drawn = _as_detections(book, shown, view)
    tracks, probability = publish(
        book,
        outside.names,
        now_ns=int(stamps[-1]),
        height=view.height,
        width=view.width,
        coverage=window.coverage,
        lost_s=config.lost_s,
        embeddings=config.embeddings,
        seen=seen,
        detections=drawn,
    )
    return (
        book,
        outside,
        Found(
            tracks=as_users_know_them(tracks, names.vocabulary),
            masks=Masks(probability=probability, to_source=mask_to_source(view, GRID)),
            grounded=(drawn.presence[:, None] * drawn.labels).max(0, initial=0.0),
            texts=names.texts(outside.names),
        ),
    )


def as_users_know_them(tracks: tuple[Track, ...], vocabulary: tuple[str, ...]) -> tuple[Track, ...]:
    """Tracks whose `label_index` counts the model's vocabulary, without hypotheses that nobody put forward."""
    return tuple(
        replace(
            track,
            label_index=vocabulary.index(track.label) if track.label in vocabulary else -1,
            hypotheses=tuple(h for h in track.hypotheses if h.label and h.score >= _LEAST_HYPOTHESIS),
        )
        for track in tracks
    )


def _detections(
    book: TrackBook, outside: OutsideBook, chosen: EntityBoxes | None, names: Names, view: View, least: float
) -> tuple[OutsideBook, Detections]:
    boxes = () if chosen is None else chosen.boxes
    sure = sorted((box for box in boxes if box.score >= least), key=lambda box: -box.score)
    cut = clip_boxes(np.array([box.box_xyxy for box in sure], np.float64).reshape(-1, 4), view.height, view.width)
    kept = np.nonzero((cut[:, 2:] > cut[:, :2]).all(1))[0][:MOST_BOXES]
    beyond = len(sure) - int((cut[:, 2:] > cut[:, :2]).all(1).sum())
    words = [" ".join(sure[i].label.split()) or UNNAMED for i in kept]
    busy: BoolArray = (label_probabilities(book.evidence)[in_use(book)] >= _LEAST_HYPOTHESIS).max(0, initial=False)
    busy[0] = True  # the column of UNNAMED
    columns = take_columns(outside.names, words, busy)
    chosen_columns = np.array([columns.index(word) if word in columns else 0 for word in words], np.intp)
    labels = np.zeros((len(kept), len(columns)), np.float32)
    labels[np.arange(len(kept)), chosen_columns] = 1.0
    return replace(outside, names=columns, beyond=outside.beyond + beyond), Detections(
        masks=np.zeros((len(kept), 1, 0, 0), np.float32),
        embeddings=names.embeddings(columns)[chosen_columns],
        labels=labels,
        presence=np.array([sure[i].score for i in kept], np.float32),
        boxes=cut[kept],
        slots=np.full(len(kept), -1, np.intp),
    )


def _as_detections(book: TrackBook, rows: IntpArray, view: View) -> Detections:
    return Detections(
        masks=draw_boxes(book.boxes[rows], view)[:, None],
        embeddings=book.embedding[rows],
        labels=label_probabilities(book.evidence[rows]),
        presence=book.score[rows],
        boxes=book.boxes[rows],
        slots=book.slot[rows],
    )


def draw_boxes(boxes: npt.NDArray[np.float64], view: View) -> FloatArray:
    """(N, GRID, GRID): how much of each cell of what the model sees a box covers; less for large boxes."""
    cells = transform_boxes(view.to_model, boxes) * (GRID / view.size)
    edges = np.arange(GRID)
    x0, y0, x1, y1 = (cells[:, i, None] for i in range(4))
    across = np.clip(np.minimum(x1, edges + 1) - np.maximum(x0, edges), 0.0, 1.0)
    down = np.clip(np.minimum(y1, edges + 1) - np.maximum(y0, edges), 0.0, 1.0)
    share = across.sum(1) * down.sum(1) / GRID**2
    covered: FloatArray = (down[:, :, None] * across[:, None, :] * (1.0 - _LARGE * share)[:, None, None]).astype(
        np.float32
    )
    return covered
