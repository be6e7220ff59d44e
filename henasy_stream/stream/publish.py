"""From the rows of the track book to the tracks and masks that users meet."""

from __future__ import annotations

import numpy as np

from henasy_stream.preprocess import clip_boxes
from henasy_stream.stream.association import IntpArray
from henasy_stream.stream.entities import Detections
from henasy_stream.stream.tracks import LOST, NEW, REMOVED, TRACKED, TrackBook, label_probabilities
from henasy_stream.types import FloatArray, Hypothesis, Track, TrackState

UNNAMED = "entity"
"""The label of a track when the weights come without a vocabulary."""

_STATES: dict[int, TrackState] = {NEW: "new", TRACKED: "tracked", LOST: "lost", REMOVED: "removed"}
_HYPOTHESES = 3


def publish(
    book: TrackBook,
    labels: tuple[str, ...],
    *,
    now_ns: int,
    height: int,
    width: int,
    coverage: float,
    lost_s: float,
    embeddings: bool = False,
    seen: IntpArray | None = None,
    detections: Detections | None = None,
) -> tuple[tuple[Track, ...], FloatArray]:
    """All tracks that have an id, by id, and the masks (K, h, w) of those that are seen now.

    A track that answers a query carries the query's text as its label, with the query's score; `label_index` is then
    -1 unless the text is a label.  `score` is the smoothed presence times `coverage`, how much of the window is real:
    right after a start it grows with every sample.  It falls linearly to 0 over `lost_s` while a track is lost.
    """
    chosen = book.rows(NEW, TRACKED, LOST, REMOVED)
    chosen = chosen[np.argsort(book.ids[chosen], kind="stable")]
    boxes = clip_boxes(book.boxes, height, width)
    probabilities = label_probabilities(book.evidence)
    tracks: list[Track] = []
    masks: list[FloatArray] = []
    for row in chosen:
        state = _STATES[int(book.stage[row])]
        mask_index = None
        score = float(book.score[row]) * coverage
        if state in ("new", "tracked") and seen is not None and detections is not None:
            masks.append(detections.masks[seen[row], -1])
            mask_index = len(masks)
        else:
            age_s = (now_ns - int(book.last_ns[row])) / 1e9
            score *= 0.0 if state == "removed" or lost_s <= 0 else max(0.0, 1.0 - age_s / lost_s)
        order = np.argsort(-probabilities[row], kind="stable")[:_HYPOTHESES]
        label, index, label_score = UNNAMED, -1, 0.0
        if len(order):
            index = int(order[0])
            label, label_score = labels[index], float(probabilities[row, index])
        query = book.queries[row]
        if query is not None:
            label, label_score = query, float(book.query_score[row])
            index = labels.index(query) if query in labels else -1
        x0, y0, x1, y1 = (float(value) for value in boxes[row])
        tracks.append(
            Track(
                id=int(book.ids[row]),
                label=label,
                label_index=index,
                label_score=label_score,
                score=score,
                state=state,
                box_xyxy=(x0, y0, x1, y1),
                mask_index=mask_index,
                first_seen_ns=int(book.first_ns[row]),
                last_seen_ns=int(book.last_ns[row]),
                hypotheses=tuple(Hypothesis(label=labels[i], score=float(probabilities[row, i])) for i in order),
                query=query,
                embedding=book.embedding[row].copy() if embeddings else None,
            )
        )
    grid = book.masks.shape[-2:]
    return tuple(tracks), np.stack(masks) if masks else np.zeros((0, *grid), np.float32)
