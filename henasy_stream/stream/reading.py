"""How one window's output is read: entities into tracks, the video embedding into a caption."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from henasy_stream.config import StreamConfig
from henasy_stream.preprocess import View
from henasy_stream.stream.captions import CaptionBook, named_tracks
from henasy_stream.stream.entities import detect, mask_to_source
from henasy_stream.stream.publish import publish
from henasy_stream.stream.queries import QueryBank, answer
from henasy_stream.stream.sampler import Int64Array
from henasy_stream.stream.texts import Texts
from henasy_stream.stream.tracks import TrackBook, TrackRules, advance
from henasy_stream.types import Alternative, Caption, FloatArray, Masks, NetworkOutput, Track


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Window:
    """What an output is of: stamps of its samples, (T,) or as many as causal weights remember, how much of it is real
    (0..1), how the frame was seen, whether it is the first after a start or reset, and whether its newest frame is one
    plain colour.
    """

    stamps: Int64Array
    coverage: float
    view: View
    first: bool
    plain: bool


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Found:
    """The entities of a hop: tracks, their masks, and (L,) how surely each label is seen now, None without entities.

    texts: those of the stream, with the labels that are in use for the vocabulary.
    """

    texts: Texts
    tracks: tuple[Track, ...] = ()
    masks: Masks | None = None
    grounded: FloatArray | None = None


def read_tracks(
    book: TrackBook, output: NetworkOutput, window: Window, texts: Texts, queries: QueryBank, config: StreamConfig
) -> tuple[TrackBook, Found]:
    """The network's own entities: the next book and what it shows."""
    vocabulary, view = texts.vocabulary, window.view
    # No network is trained on a covered lens; it may see anything there.
    detections = detect(output, vocabulary, view, np.inf if window.plain else config.presence)
    rules = TrackRules(birth_hits=config.birth_hits, lost_s=config.lost_s)
    book, seen = advance(book, detections, window.stamps[-detections.masks.shape[1] :], rules, first=window.first)
    book = answer(book, queries)
    tracks, probability = publish(
        book,
        vocabulary.labels,
        now_ns=int(window.stamps[-1]),
        height=view.height,
        width=view.width,
        coverage=window.coverage,
        lost_s=config.lost_s,
        embeddings=config.embeddings,
        seen=seen,
        detections=detections,
    )
    grounded = np.zeros(len(vocabulary.labels), np.float32)
    if len(detections):
        grounded = (detections.presence[:, None] * detections.labels).max(0)
    masks = Masks(probability=probability, to_source=mask_to_source(view, probability.shape[-1]))
    return book, Found(texts=texts, tracks=tracks, masks=masks, grounded=grounded)


def read_caption(
    book: CaptionBook,
    output: NetworkOutput,
    window: Window,
    found: Found,
    queries: QueryBank,
    config: StreamConfig,
) -> tuple[CaptionBook, Caption | None, tuple[Caption, ...]]:
    """The next book, the open segment, and the segment that this window closed, if any.

    Without entities the queries are scored for the whole window and follow the bank's phrases in
    `Caption.alternatives`.
    """
    bank, vocabulary = found.texts.bank, found.texts.vocabulary
    scores = bank.log_probabilities(output.video_embedding, vocabulary.temperature, found.grounded)
    book, closed = book.update(
        scores,
        bank.texts,
        window_start_ns=int(window.stamps[0]),
        stamp_ns=int(window.stamps[-1]),
        hold_s=config.caption_hold_s,
    )
    named = named_tracks(bank.mentioned(book.phrase), bank.texts[book.phrase], vocabulary.labels, found.tracks)
    book = replace(book, track_ids=named)
    caption = book.caption(bank.texts, window.coverage)
    if caption is not None and queries.texts and found.grounded is None:
        scores = queries.whole_frame_scores(output.video_embedding, bank.embeddings)
        asked = tuple(
            Alternative(text=text, score=float(score) * window.coverage)
            for text, score in zip(queries.texts, scores, strict=True)
        )
        caption = replace(caption, alternatives=caption.alternatives + asked)
    return book, caption, closed
