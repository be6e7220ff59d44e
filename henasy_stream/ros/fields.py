"""Our messages as the fields of ROS messages: nested dictionaries of plain values, named as in the definitions.

    builder = MessageBuilder(spec)
    for message in builder.perception(perception):
        match message:
            case messages.Tracks():
                tracks_fields(message)      # henasy_msgs/EntityTrackArray
                detections_fields(message)  # vision_msgs/Detection2DArray
            case messages.Caption():
                caption_fields(message)     # henasy_msgs/ActionCaption

What is null in our messages is empty here, or the constant that the definition names.  Stamps keep their clock; a
header has the stamp and the frame_id that the frame came in with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from henasy_stream.sinks import messages

Fields = dict[str, Any]
"""Of a ROS message: numbers, texts, lists of these, and `Fields` of the messages inside."""

CLOCKS: Mapping[str, int] = {"unix": 0, "monotonic": 1, "media": 2, "device": 3}
"""StreamInfo.CLOCK_*"""
STAMP_SOURCES: Mapping[str, int] = {"device": 0, "receive": 1, "file": 2, "synthetic": 3}
"""StreamInfo.STAMP_*"""
TRACK_STATES: Mapping[str, int] = {"new": 0, "tracked": 1, "lost": 2, "removed": 3}
"""EntityTrack.STATE_*"""
QUERY_KINDS: Mapping[str, int] = {"entity": 0, "action": 1}
"""QueryAnswer.KIND_*"""
NO_MASK = 0
"""EntityTrack.NO_MASK"""
NO_LABEL_INDEX = -1
"""EntityTrack.NO_LABEL_INDEX, which our messages use too."""

OK, WARN, ERROR, STALE = 0, 1, 2, 3
"""Levels of diagnostic_msgs/DiagnosticStatus."""
LEVELS: Mapping[str, int] = {
    "STARTING": WARN,
    "BUILDING": WARN,
    "RUNNING": OK,
    "SOURCE_LOST": ERROR,
    "STALLED": ERROR,
    "STOPPING": WARN,
}

_NS = 1_000_000_000
_NO_POSE: Fields = {
    "pose": {"position": {"x": 0.0, "y": 0.0, "z": 0.0}, "orientation": {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0}},
    "covariance": [0.0] * 36,
}


def time_fields(ns: int) -> Fields:
    """builtin_interfaces/Time; before the clock's zero `sec` is negative and `nanosec` still counts up.

    Raises:
        ValueError: more than 68 years from the clock's zero, which 32 bits of seconds do not hold.
    """
    sec, nanosec = divmod(ns, _NS)
    if not -(2**31) <= sec < 2**31:
        raise ValueError(f"stamp {ns} ns is more than 68 years from its clock's zero; a ROS stamp cannot hold it")
    return {"sec": sec, "nanosec": nanosec}


def header_fields(stamp_ns: int, frame_id: str) -> Fields:
    """std_msgs/Header."""
    return {"stamp": time_fields(stamp_ns), "frame_id": frame_id}


def tracks_fields(message: messages.Tracks) -> Fields:
    """henasy_msgs/EntityTrackArray."""
    return {
        "header": header_fields(message.stamp_ns, message.frame_id),
        "info": _info(message),
        "width": message.width,
        "height": message.height,
        "tracks": [_track(track) for track in message.tracks],
        "relations": [_relation(relation) for relation in message.relations],
        "queries": _queries(message.queries),
    }


def caption_fields(message: messages.Caption) -> Fields:
    """henasy_msgs/ActionCaption."""
    return {
        "header": header_fields(message.stamp_ns, message.frame_id),
        "info": _info(message),
        "segment_id": message.segment_id,
        "text": message.text,
        "score": message.score,
        "start": time_fields(message.start_ns),
        "end": time_fields(message.end_ns),
        "final": message.final,
        "track_ids": list(message.track_ids),
        "alternatives": [{"text": a.text, "score": a.score} for a in message.alternatives],
        "queries": _queries(message.queries),
    }


def detections_fields(message: messages.Tracks) -> Fields:
    """vision_msgs/Detection2DArray: the tracks that are seen now, for those who know standard messages only.

    `id` is the track's, in decimal digits.  `class_id` is a label in words.  A score is the probability that something
    is there and that it is this.  The label of the track comes first, then its other hypotheses.  Poses are not known:
    zero, without covariance.
    """
    header = header_fields(message.stamp_ns, message.frame_id)
    seen = [track for track in message.tracks if track.state in ("new", "tracked")]
    return {"header": header, "detections": [_detection(track, header) for track in seen]}


def label_info_fields(nouns: Sequence[str], header: Fields) -> Fields:
    """vision_msgs/LabelInfo: the vocabulary that `label_index` counts, without a threshold of our own.

    `class_id` has 16 bits there; labels from 65,536 on are left out.
    """
    classes = [{"class_id": i, "class_name": noun} for i, noun in enumerate(nouns[: 2**16])]
    return {"header": header, "class_map": classes, "threshold": 0.0}


def vision_info_fields(model_id: str, vocabulary_hash: str, header: Fields) -> Fields:
    """vision_msgs/VisionInfo: which weights speak, and the hash of their vocabulary in place of a database."""
    return {
        "header": header,
        "method": model_id,
        "database_location": vocabulary_hash,
        "database_version": messages.SCHEMA_VERSION,
    }


def diagnostics_fields(message: messages.Status, name: str) -> Fields:
    """diagnostic_msgs/DiagnosticArray with one status: how the node is, with its counters and latencies as values.

    Args:
        message: of the node.
        name: of the status: node and what it is about.
    """
    counters = {field: getattr(message.counters, field) for field in message.counters.__struct_fields__}
    latency = {
        f"{stage} {field} (ms)": f"{getattr(percentiles, field):.1f}"
        for stage, percentiles in message.latency_ms.items()
        for field in percentiles.__struct_fields__
    }
    values = {"session": message.session, **counters, **latency}
    status = {
        "level": LEVELS[message.state],
        "name": name,
        "message": f"{message.state}: {message.reason}" if message.reason else message.state,
        "hardware_id": message.source or "",
        "values": [{"key": key.replace("_", " "), "value": str(value)} for key, value in values.items()],
    }
    return {"header": header_fields(message.published_ns, ""), "status": [status]}


def _info(message: messages.FrameMessage) -> Fields:
    return {
        "session": message.session,
        "seq": message.seq,
        "frame_index": message.frame_index,
        "clock": CLOCKS[message.clock],
        "stamp_source": STAMP_SOURCES[message.stamp_source],
        "published": time_fields(message.published_ns),
        "window_start": time_fields(message.window_start_ns),
        "window_end": time_fields(message.window_end_ns),
        "source": message.source,
        "reset": message.reset or "",
    }


def _track(track: messages.TrackMessage) -> Fields:
    return {
        "id": track.id,
        "label": track.label,
        "label_index": track.label_index,
        "label_score": track.label_score,
        "score": track.score,
        "state": TRACK_STATES[track.state],
        "box_xyxy": list(track.box_xyxy),
        "mask_index": track.mask_index or NO_MASK,
        "first_seen": time_fields(track.first_seen_ns),
        "last_seen": time_fields(track.last_seen_ns),
        "hypotheses": [{"text": h.label, "score": h.score} for h in track.hypotheses],
        "query": track.query or "",
        "embedding": list(track.embedding or ()),
    }


def _relation(relation: messages.RelationMessage) -> Fields:
    return {
        "subject_id": relation.subject_id,
        "predicate": relation.predicate,
        "object_id": relation.object_id,
        "score": relation.score,
        "start": time_fields(relation.start_ns),
    }


def _queries(answers: Sequence[messages.QueryMessage]) -> list[Fields]:
    return [
        {
            "text": answer.text,
            "kind": QUERY_KINDS[answer.kind],
            "present": answer.present,
            "score": answer.score,
            "calibrated": answer.calibrated,
            "track_ids": list(answer.track_ids),
            "track_scores": list(answer.track_scores),
        }
        for answer in answers
    ]


def _detection(track: messages.TrackMessage, header: Fields) -> Fields:
    x0, y0, x1, y1 = track.box_xyxy
    labels = [(track.label, track.label_score)]
    labels += [(h.label, h.score) for h in track.hypotheses if h.label != track.label]
    return {
        "header": header,
        "results": [
            {"hypothesis": {"class_id": label, "score": track.score * score}, "pose": _NO_POSE}
            for label, score in labels
        ],
        "bbox": {
            "center": {"position": {"x": (x0 + x1) / 2, "y": (y0 + y1) / 2}, "theta": 0.0},
            "size_x": x1 - x0,
            "size_y": y1 - y0,
        },
        "id": str(track.id),
    }
