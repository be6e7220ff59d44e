"""LaViLa's clip lists: `ego4d_train.pkl`, `ego4d_val.pkl` and its pseudo-labelled ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from henasy_stream.errors import UserError
from training.data.clip_table import ClipTable
from training.data.pickles import load_plain
from training.data.records import Clip, Skips


def read_lavila(path: Path) -> tuple[ClipTable, Skips]:
    """The clips of a list of (video_uid, start_s, end_s, narration or narrations[, likelihoods]).

    Left out and counted: entries without a finite start and end, whose end lies before the start or before 0, or
    without a narration.  Mended and counted: starts below 0.

    Raises:
        UserError: a pickle that names anything but lists, tuples, strings and numbers, or whose entries are not such
            tuples.
    """
    entries = load_plain(path)
    if not isinstance(entries, list):
        raise UserError(f"{path}: holds a {type(entries).__name__}, expected a list of clips")
    skips = Skips(source=path.name)
    table = ClipTable.of(_clips(path, entries, skips))
    if not len(table):
        raise UserError("; ".join([f"{path}: no usable clip", *skips.lines()]))
    return table, skips


def _clips(path: Path, entries: list[Any], skips: Skips) -> Iterator[Clip]:
    for place, entry in enumerate(entries):
        video, start, end, texts = _fields(path, place, entry)
        where = f"entry {place}: {start:g}-{end:g} s"
        if not (math.isfinite(start) and math.isfinite(end)):
            skips.add("start or end is not a finite number", where)
        elif end < start or end < 0:
            skips.add("end before start", where)
        elif not any(texts):
            skips.add("no narration", where)
        else:
            if start < 0:
                skips.add("start below 0 set to 0", where)
            yield Clip(video=video, start=max(start, 0.0), end=end, texts=texts, key=str(place))


def _fields(path: Path, place: int, entry: Any) -> tuple[str, float, float, tuple[str, ...]]:
    if not isinstance(entry, tuple | list) or len(entry) not in (4, 5):
        raise UserError(f"{path}, entry {place}: expected (video, start, end, narration)")
    video, start, end, said = entry[:4]
    texts = tuple(said) if isinstance(said, list | tuple) else (said,)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (start, end))
    if not (isinstance(video, str) and numbers and all(isinstance(text, str) for text in texts)):
        kinds = ", ".join(type(value).__name__ for value in entry[:4])
        raise UserError(f"{path}, entry {place}: ({kinds}), expected (str, number, number, str or list of str)")
    return video, float(start), float(end), texts
