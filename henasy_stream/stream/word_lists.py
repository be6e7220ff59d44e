"""Files of verbs and nouns: plain word lists, EPIC-KITCHENS-100's class files, Ego4D's taxonomies.

Of the data sets' own lists none is shipped: EPIC's annotations are CC BY-NC 4.0 and Ego4D's come with a licence that
each user signs.  Whoever has them gives the files as they are.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from henasy_stream.errors import UserError
from henasy_stream.stream.phrases import read_lines

EVERYDAY = "everyday"
"""In place of a file: the list of ours."""
_COLUMNS = ("key", "label")
"""Header of the column of words: EPIC's `id,key,instances,category`, Ego4D's `label,group`."""


def load_words(path: str | Path, kind: str) -> tuple[str, ...]:
    """The words of a file, one a line or those of a class file's column, as people say them, each once.

    Args:
        path: text or csv; "everyday" is our own list.
        kind: "verbs" or "nouns", for messages and for our list.

    Raises:
        UserError: the file cannot be read, is not UTF-8 or holds no word.
    """
    if str(path) == EVERYDAY:
        path = Path(__file__).with_name(f"everyday_{kind}.txt")
    lines = read_lines(path, f"the file of {kind}")
    cells = _column(lines)
    if cells is None:
        words = [line if "{}" in line else spoken(line) for line in lines if not line.startswith("#")]
    else:
        words = [spoken(cell.replace("-", " ")) for cell in cells]
    found = tuple(dict.fromkeys(word for word in words if word))
    if not found:
        example = "cut" if kind == "verbs" else "onion"
        raise UserError(f"{path} holds no {kind}: write one a line, such as {example!r}")
    return found


def spoken(word: str) -> str:
    """The word as people say it.

    EPIC writes the head first and joins by colons ("board:chopping"), others by commas ("lid, pan"), Ego4D adds
    synonyms in brackets and joins by underscores ("bag_(bag,_sack)"): "chopping board", "pan lid", "bag".
    """
    plain = re.sub(r"\(.*?(\)|$)", " ", word).replace("_", " ")
    head, *rest = re.split(r"[:,]", plain)
    return " ".join(" ".join([*rest, head]).split())


def _column(lines: list[str]) -> list[str] | None:
    """The cells below the header of a class file; None for any other file."""
    rows = list(csv.reader(lines, skipinitialspace=True))
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    column = next((header.index(name) for name in _COLUMNS if name in header and len(header) > 1), None)
    return None if column is None else [row[column] for row in rows[1:] if len(row) > column]
