"""EgoClip: 3.8 million clip-narration pairs of Ego4D (`egoclip.csv`, columns separated by tabs)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from henasy_stream.errors import UserError
from training.data.clip_table import ClipTable
from training.data.records import Clip, Skips
from training.data.tables import Row, read_table

VERBS, NOUNS = 118, 582
"""Classes of Ego4D's narration taxonomy."""

COLUMNS = (
    "video_uid", "video_dur", "narration_time", "clip_start", "clip_end", "clip_text", "tag_verb", "tag_noun",
)  # fmt: skip


def read_egoclip(path: Path) -> tuple[ClipTable, Skips]:
    """The clips of `egoclip.csv`, and what was left out or mended.

    Left out and counted: rows of another number of cells (as EgoVLP leaves them out), without a start or an end, whose
    end lies before the start, or that start at or after the video's end.  Mended and counted: ends beyond the video;
    starts below 0.

    Raises:
        UserError: a file that is not this table, a cell that is no number or no list of whole numbers, a class that is
            not in the taxonomy, no usable row at all.
    """
    skips = Skips(source=path.name)
    table = ClipTable.of(_clips(path, skips))
    if not len(table):
        raise UserError("; ".join([f"{path}: no usable row", *skips.lines()]))
    return table, skips


def _clips(path: Path, skips: Skips) -> Iterator[Clip]:
    for row in read_table(path, COLUMNS, separator="\t", skips=skips):
        span = _span(row, skips)
        if span is None:
            continue
        time = row.number_or_nan("narration_time")
        yield Clip(
            video=row.text("video_uid"),
            start=span[0],
            end=span[1],
            texts=(row.text("clip_text"),),
            time=time,
            nouns=row.integers("tag_noun", below=NOUNS),
            verbs=row.integers("tag_verb", below=VERBS),
            key=str(row.number),
        )


def _span(row: Row, skips: Skips) -> tuple[float, float] | None:
    start, end, duration = (row.number_or_nan(name) for name in ("clip_start", "clip_end", "video_dur"))
    where = f"row {row.number}: {start:g}-{end:g} s of {duration:g} s"
    reason = _unusable(start, end, duration)
    if reason:
        skips.add(reason, where)
        return None
    if start < 0:
        skips.add("start below 0 set to 0", where)
    if end > duration:
        skips.add("end beyond the video set to the video's end", where)
        end = duration
    return max(start, 0.0), end


def _unusable(start: float, end: float, duration: float) -> str:
    if not (math.isfinite(start) and math.isfinite(end)):
        return "start or end is not a finite number"
    if end < start:
        return "end before start"
    return "outside the video" if start >= duration or end < 0 else ""
