"""Ego4D's own annotation files: narrations, natural-language queries (NLQ), moments (MQ)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from henasy_stream.errors import UserError
from training.data.records import Skips
from training.data.tables import read_json

Entry = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Narration:
    """One sentence at one second of a video; `source` is the pass or the annotation that it comes from."""

    video: str
    time: float
    text: str
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipSpan:
    """A benchmark clip, for which features are computed: `start` to `end` in seconds of the video."""

    clip: str
    video: str
    start: float
    end: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """One question about a clip; the answer's `start` and `end` in seconds of the *clip*, NaN where it is kept back."""

    clip: str
    text: str
    start: float
    end: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """One labelled activity; `start` and `end` in seconds of the *clip*."""

    clip: str
    label: str
    start: float
    end: float


def read_narrations(path: Path) -> tuple[tuple[Narration, ...], Skips]:
    """The narrations of `narration.json` or of `all_narrations_redacted.json`, whichever the file is.

    Left out and counted: narrations without text or without a finite time.

    Raises:
        UserError: a file that is neither.
    """
    content = _mapping(path, "the file", read_json(path))
    skips = Skips(source=path.name)
    read = _redacted if isinstance(content.get("videos"), dict) else _two_passes
    return tuple(read(path, content, skips)), skips


def read_nlq(path: Path) -> tuple[tuple[ClipSpan, ...], tuple[Query, ...], Skips]:
    """Clips and queries of `nlq_{train,val,test_unannotated}.json`.

    Left out and counted: queries whose text is null, missing or empty (the official files have some).

    Raises:
        UserError: a file that is not this one.
    """
    skips = Skips(source=path.name)
    spans, queries = [], []
    for where, span, labels in _clips(path):
        spans.append(span)
        for annotation in labels:
            for place, entry in enumerate(annotation.get("language_queries") or ()):
                text = entry.get("query")
                if not isinstance(text, str) or not text.strip():
                    skips.add("query without text", f"{where}, query {place}")
                    continue
                start, end = _seconds(entry.get("clip_start_sec")), _seconds(entry.get("clip_end_sec"))
                queries.append(Query(clip=span.clip, text=text.strip(), start=start, end=end))
    return tuple(spans), tuple(queries), skips


def read_moments(path: Path) -> tuple[tuple[ClipSpan, ...], tuple[Moment, ...], Skips]:
    """Clips and moments of `moments_*.json`; clips of the test split come without moments.

    Left out and counted: moments without a label, or whose end is not after their start.

    Raises:
        UserError: a file that is not this one.
    """
    skips = Skips(source=path.name)
    spans, moments = [], []
    for where, span, labels in _clips(path):
        spans.append(span)
        for annotation in labels:
            for place, entry in enumerate(annotation.get("labels") or ()):
                label, at = entry.get("label"), f"{where}, label {place}"
                start, end = _seconds(entry.get("start_time")), _seconds(entry.get("end_time"))
                if not isinstance(label, str) or not label:
                    skips.add("moment without label", at)
                elif not start < end:
                    skips.add("end not after start", f"{at}: {start:g}-{end:g} s")
                else:
                    moments.append(Moment(clip=span.clip, label=label, start=start, end=end))
    return tuple(spans), tuple(moments), skips


def _two_passes(path: Path, content: Entry, skips: Skips) -> Iterator[Narration]:
    for video, passes in content.items():
        for name in ("narration_pass_1", "narration_pass_2"):
            body = _mapping(path, f"video {video}", passes).get(name) or {}
            for place, entry in enumerate(_list(path, f"video {video}, {name}", body, "narrations")):
                yield from _narration(
                    video, entry.get("timestamp_sec"), entry.get("narration_text"), name, f"{video}, {name}, {place}",
                    skips,
                )  # fmt: skip


def _redacted(path: Path, content: Entry, skips: Skips) -> Iterator[Narration]:
    for video, body in content["videos"].items():
        for place, entry in enumerate(_list(path, f"video {video}", body, "narrations")):
            source = str(entry.get("_annotation_uid", ""))
            yield from _narration(video, entry.get("time"), entry.get("text"), source, f"{video}, {place}", skips)


def _narration(video: str, time: object, text: object, source: str, where: str, skips: Skips) -> Iterator[Narration]:
    second = _seconds(time)
    if not isinstance(text, str) or not text.strip():
        skips.add("narration without text", where)
    elif not math.isfinite(second):
        skips.add("narration without time", where)
    else:
        yield Narration(video=video, time=second, text=text.strip(), source=source)


def _clips(path: Path) -> Iterator[tuple[str, ClipSpan, list[Entry]]]:
    """Place in the file, span and annotations of each clip."""
    content = _mapping(path, "the file", read_json(path))
    if "videos" not in content:
        raise UserError(f"{path}: no field videos")
    for video in _list(path, "the file", content, "videos"):
        uid = video.get("video_uid")
        for entry in _list(path, f"video {uid}", video, "clips"):
            clip = entry.get("clip_uid")
            where = f"video {uid}, clip {clip}"
            if not isinstance(uid, str) or not isinstance(clip, str):
                raise UserError(f"{path}, {where}: no video_uid or no clip_uid")
            start, end = _seconds(entry.get("video_start_sec")), _seconds(entry.get("video_end_sec"))
            if not start < end or start < 0:
                raise UserError(f"{path}, {where}: video_start_sec {start:g} and video_end_sec {end:g} are no stretch")
            span = ClipSpan(clip=clip, video=uid, start=start, end=end)
            yield where, span, _list(path, where, entry, "annotations")


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _mapping(path: Path, where: str, value: object) -> Entry:
    if not isinstance(value, dict):
        raise UserError(f"{path}, {where}: expected an object, found {type(value).__name__}")
    return value


def _list(path: Path, where: str, entry: object, name: str) -> list[Entry]:
    """A list of objects; a missing or null field is an empty one, as the files have it."""
    value = _mapping(path, where, entry).get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise UserError(f"{path}, {where}, field {name}: expected a list of objects")
    return value
