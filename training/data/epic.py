"""EPIC-KITCHENS-100: action recognition and multi-instance retrieval."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from henasy_stream.errors import UserError
from training.data.pickles import load_arrays
from training.data.records import Clip
from training.data.tables import Row, checksum, read_table

VERBS, NOUNS = 97, 300

COLUMNS = (
    "narration_id", "participant_id", "video_id", "start_timestamp", "stop_timestamp", "narration", "verb_class",
    "noun_class", "all_noun_classes",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One labelled action.  `clip.key` is the narration id; `clip.nouns` are all nouns, `noun` is the main one."""

    clip: Clip
    verb: int
    noun: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Retrieval:
    """Multi-instance retrieval: V videos against Q sentences.

    segments: the V videos.  sentences: the Q unique ones; columns: (Q,) the segment that each was taken from.
    relevance: (V, Q) in 0..1.  checksums: SHA-256 by file name, to be printed with the scores.
    """

    segments: tuple[Segment, ...]
    sentences: tuple[str, ...]
    columns: npt.NDArray[np.int64]
    relevance: npt.NDArray[np.float64]
    checksums: dict[str, str]


def read_segments(path: Path) -> tuple[Segment, ...]:
    """The rows of `EPIC_100_{train,validation}.csv` and `EPIC_100_retrieval_{train,test}.csv`.

    The clip's video is "P01/P01_01", which is where the data set keeps it.

    Raises:
        UserError: a file that is not this table, an unusable cell, or an end before the start; nothing is left out,
            since rows are matched with scores by their place.
    """
    segments = tuple(_segment(row) for row in read_table(path, COLUMNS, separator=","))
    if not segments:
        raise UserError(f"{path}: no rows")
    return segments


def seconds(timestamp: str) -> float:
    """Seconds of "HH:MM:SS.ss"; ValueError for anything else."""
    hours, minutes, rest = timestamp.split(":")
    value = int(hours) * 3600 + int(minutes) * 60 + float(rest)
    if not math.isfinite(value) or value < 0:
        raise ValueError(timestamp)
    return value


def class_texts(segments: Iterable[Segment]) -> dict[tuple[int, int], tuple[str, ...]]:
    """The unique narrations of each (verb, noun) pair, pairs and narrations sorted.

    An action's text embedding is the mean over them; give the rows of train and validation, as the zero-shot protocol
    does.
    """
    texts: dict[tuple[int, int], set[str]] = {}
    for segment in segments:
        texts.setdefault((segment.verb, segment.noun), set()).add(segment.clip.text)
    return {pair: tuple(sorted(texts[pair])) for pair in sorted(texts)}


def read_retrieval(segments_path: Path, sentences_path: Path, relevancy_path: Path) -> Retrieval:
    """The three files of a retrieval split: table, `…_sentence.csv`, and relevancy pickle.

    Raises:
        UserError: a file that is not what it should be, a sentence whose id the table lacks, a matrix of another
            shape than videos x sentences or with values outside 0..1.
    """
    segments = read_segments(segments_path)
    place = {segment.clip.key: i for i, segment in enumerate(segments)}
    sentences, columns = [], []
    for row in read_table(sentences_path, ("narration_id", "narration"), separator=","):
        key = row.text("narration_id")
        if key not in place:
            raise row.error("narration_id", f"{key!r} is not in {segments_path.name}")
        columns.append(place[key])
        sentences.append(row.text("narration"))
    return Retrieval(
        segments=segments,
        sentences=tuple(sentences),
        columns=np.array(columns, np.int64),
        relevance=_read_relevance(relevancy_path, len(segments), len(sentences)),
        checksums={path.name: checksum(path) for path in (segments_path, sentences_path, relevancy_path)},
    )


def _read_relevance(path: Path, videos: int, sentences: int) -> npt.NDArray[np.float64]:
    matrix = load_arrays(path)
    if not isinstance(matrix, np.ndarray) or matrix.shape != (videos, sentences):
        found = matrix.shape if isinstance(matrix, np.ndarray) else type(matrix).__name__
        raise UserError(f"{path}: {found}, expected {videos} videos x {sentences} sentences of the two tables")
    relevance = matrix.astype(np.float64)
    if not ((relevance >= 0) & (relevance <= 1)).all():
        raise UserError(f"{path}: relevance outside 0..1")
    return relevance


def _segment(row: Row) -> Segment:
    start, end = _timestamp(row, "start_timestamp"), _timestamp(row, "stop_timestamp")
    if end < start:
        raise row.error("stop_timestamp", f"{row.text('stop_timestamp')} lies before the start")
    verb = row.integer("verb_class", below=VERBS)
    participant, video = row.text("participant_id"), row.text("video_id")
    return Segment(
        clip=Clip(
            video=f"{participant}/{video}",
            start=start,
            end=end,
            texts=(row.text("narration"),),
            nouns=row.integers("all_noun_classes", below=NOUNS),
            verbs=(verb,),
            key=row.text("narration_id"),
        ),
        verb=verb,
        noun=row.integer("noun_class", below=NOUNS),
    )


def _timestamp(row: Row, column: str) -> float:
    text = row.text(column)
    try:
        return seconds(text)
    except ValueError:
        raise row.error(column, f"{text!r} is not HH:MM:SS.ss") from None
