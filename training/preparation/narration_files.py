"""The clip lists that `prepare.py` takes: EgoClip's csv, LaViLa's pickles and one's own csv, told apart by content."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from henasy_stream.errors import UserError
from training.data.clip_table import ClipTable
from training.data.egoclip import read_egoclip
from training.data.lavila_pickles import read_lavila
from training.data.records import Clip, Skips
from training.data.tables import Row, read_table
from training.preparation.video_files import VIDEO_SUFFIXES

OWN_COLUMNS = ("video", "start", "end", "narration")


def read_clips(path: Path) -> tuple[ClipTable, Skips]:
    """The clips of a file and what was left out or mended.

    Raises:
        UserError: none of the three kinds, or not readable.
    """
    if path.suffix.lower() in (".pkl", ".pickle"):
        return read_lavila(path)
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            header = file.readline(10_000)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    return read_egoclip(path) if "clip_text" in header else read_own_csv(path)


def read_own_csv(path: Path) -> tuple[ClipTable, Skips]:
    """The clips of one's own csv with the columns video, start, end, narration; keys are the row numbers.

    A video is named as its file, with or without ending.  Times are seconds or [HH:]MM:SS.  Left out and counted:
    rows without a finite start and end, whose end lies before the start or before 0, or without a narration; rows of
    another number of cells.  Mended and counted: starts below 0.

    Raises:
        UserError: wrong separator, missing column, a time that is none, no usable row.
    """
    skips = Skips(source=path.name)
    table = ClipTable.of(_clips(path, skips))
    if not len(table):
        raise UserError("; ".join([f"{path}: no usable row", *skips.lines()]))
    return table, skips


def _clips(path: Path, skips: Skips) -> Iterator[Clip]:
    for row in read_table(path, OWN_COLUMNS, separator=",", skips=skips):
        start, end = _seconds(row, "start"), _seconds(row, "end")
        video, narration = row.text("video").strip(), " ".join(row.text("narration").split())
        where = f"row {row.number}"
        if not video:
            raise row.error("video", "empty")
        if not (math.isfinite(start) and math.isfinite(end)):
            skips.add("start or end is not a finite number", where)
        elif end < start or end < 0:
            skips.add("end before start", f"{where}: {start:g}-{end:g} s")
        elif not narration:
            skips.add("no narration", where)
        else:
            if start < 0:
                skips.add("start below 0 set to 0", where)
            start = max(start, 0.0)
            yield Clip(
                video=_video_id(video), start=start, end=end, texts=(narration,), time=start, key=str(row.number)
            )


def _video_id(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name


def _seconds(row: Row, column: str) -> float:
    text = row.text(column).strip()
    if ":" not in text:
        return row.number_or_nan(column)
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        parts = []
    if not 2 <= len(parts) <= 3 or any(part < 0 for part in parts) or any(part >= 60 for part in parts[1:]):
        raise row.error(column, f"{text!r} is neither seconds nor HH:MM:SS")
    return sum(part * 60**power for power, part in enumerate(reversed(parts)))
