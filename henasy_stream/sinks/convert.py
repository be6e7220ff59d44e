"""From the stream's value objects to the values inside messages.

A number that a message's schema would refuse never leaves here: scores are clipped to 0..1, boxes to the frame, and
what is not finite is a ValueError that names it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2

from henasy_stream.sinks import messages
from henasy_stream.types import Caption, Frame, QueryAnswer, Relation, Track, UInt8Array

JPEG_QUALITY = 85


def track_message(track: Track, *, width: int, height: int, with_embedding: bool) -> messages.TrackMessage:
    """The track as it stands in a message; `width` and `height` are those of the source's frame, in pixels."""
    where = f"track {track.id}"
    x0, y0, x1, y1 = (finite(v, f"{where}: box") for v in track.box_xyxy)
    embedding = None
    if with_embedding and track.embedding is not None:
        embedding = tuple(finite(v, f"{where}: embedding") for v in track.embedding)
    hypotheses = tuple(
        messages.HypothesisMessage(label=h.label, score=_score(h.score, f"{where}: {h.label}"))
        for h in track.hypotheses
    )
    return messages.TrackMessage(
        id=track.id,
        label=track.label,
        label_index=track.label_index,
        label_score=_score(track.label_score, where),
        score=_score(track.score, where),
        state=track.state,
        # Arithmetic in float32 may leave the frame by a rounding error, and a reader may index pixels with it.
        box_xyxy=(_clip(x0, width), _clip(y0, height), _clip(x1, width), _clip(y1, height)),
        mask_index=track.mask_index,
        first_seen_ns=track.first_seen_ns,
        last_seen_ns=track.last_seen_ns,
        hypotheses=hypotheses,
        query=track.query,
        embedding=embedding,
    )


def relation_message(relation: Relation) -> messages.RelationMessage:
    """The relation as it stands in a message."""
    return messages.RelationMessage(
        subject_id=relation.subject_id,
        predicate=relation.predicate,
        object_id=relation.object_id,
        score=_score(relation.score, f"relation {relation.predicate}"),
        start_ns=relation.start_ns,
    )


def query_message(answer: QueryAnswer) -> messages.QueryMessage:
    """The answer as it stands in a message."""
    where = f"query {answer.text!r}"
    return messages.QueryMessage(
        text=answer.text,
        kind=answer.kind,
        present=answer.present,
        score=_score(answer.score, where),
        calibrated=answer.calibrated,
        track_ids=answer.track_ids,
        track_scores=tuple(_score(score, where) for score in answer.track_scores),
    )


def caption_body(caption: Caption) -> dict[str, Any]:
    """The keys that `henasy/1/caption` adds to the common ones."""
    where = f"segment {caption.segment_id}"
    alternatives = tuple(
        messages.AlternativeMessage(text=a.text, score=_score(a.score, f"{where}: {a.text}"))
        for a in caption.alternatives
    )
    return {
        "segment_id": caption.segment_id,
        "text": caption.text,
        "score": _score(caption.score, where),
        "start_ns": caption.start_ns,
        "end_ns": caption.end_ns,
        "final": caption.final,
        "track_ids": tuple(caption.track_ids),
        "alternatives": alternatives,
    }


def png(index: UInt8Array) -> bytes:
    """An 8-bit grey PNG file of the mask indices, (h, w)."""
    return _encode(".png", index)


def jpeg(frame: Frame) -> bytes:
    """A JPEG file of the frame's picture."""
    return _encode(".jpg", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))


def finite(value: float, what: str) -> float:
    """`value` as a float of Python's; ValueError for NaN and infinity, which JSON cannot hold."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{what} is {number}; a message holds finite numbers only")
    return number


def _score(value: float, where: str) -> float:
    return _clip(finite(value, f"{where}: score"), 1)


def _clip(value: float, largest: float) -> float:
    return min(max(value, 0.0), float(largest))


def _encode(extension: str, image: Any, options: Sequence[int] = ()) -> bytes:
    done, data = cv2.imencode(extension, image, options)
    assert done, f"OpenCV could not encode a {extension} of shape {image.shape}"
    return data.tobytes()
