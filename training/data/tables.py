"""Tables and JSON files of annotations, read so that every error names the file, the row and the column."""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from henasy_stream.errors import UserError
from training.data.records import Skips

SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", " ": "spaces"}
_LONGEST_LITERAL = 100_000


class Row:
    """One row; `number` is its line in the file, the header being line 1."""

    __slots__ = ("_cells", "_columns", "number", "path")

    def __init__(self, path: Path, number: int, columns: dict[str, int], cells: Sequence[str]) -> None:
        self.path, self.number, self._columns, self._cells = path, number, columns, cells

    def error(self, column: str, problem: str) -> UserError:
        """The error that names this cell."""
        return UserError(f"{self.path}, row {self.number}, column {column}: {problem}")

    def text(self, column: str) -> str:
        """The cell as it stands; UserError where the row is too short."""
        place = self._columns[column]
        if place >= len(self._cells):
            raise self.error(column, f"missing; the row has {len(self._cells)} cells")
        return self._cells[place]

    def number_or_nan(self, column: str) -> float:
        """A number; NaN for an empty cell and for "nan"; UserError for what is no number."""
        text = self.text(column).strip()
        if not text:
            return math.nan
        try:
            return float(text)
        except ValueError:
            raise self.error(column, f"{text!r} is not a number") from None

    def integer(self, column: str, below: int | None = None) -> int:
        """A whole number from 0 on, less than `below`; UserError for anything else."""
        text = self.text(column).strip()
        try:
            value = int(text)
        except ValueError:
            raise self.error(column, f"{text!r} is not a whole number") from None
        return self._class(column, value, below)

    def integers(self, column: str, below: int | None = None) -> tuple[int, ...]:
        """A list literal of whole numbers from 0 on, less than `below`; UserError for anything else."""
        text = self.text(column)
        values = _literal(text)
        if not isinstance(values, tuple) or not all(type(value) is int for value in values):
            raise self.error(column, f"{_shorten(text)} is not a list of whole numbers")
        return tuple(self._class(column, value, below) for value in values)

    def texts(self, column: str) -> tuple[str, ...]:
        """A list literal of strings; UserError for anything else."""
        text = self.text(column)
        values = _literal(text)
        if not isinstance(values, tuple) or not all(isinstance(value, str) for value in values):
            raise self.error(column, f"{_shorten(text)} is not a list of strings")
        return values

    def _class(self, column: str, value: int, below: int | None) -> int:
        if value < 0 or (below is not None and value >= below):
            limit = "" if below is None else f"..{below - 1}"
            raise self.error(column, f"{value} is not in the taxonomy (0{limit})")
        return value


@lru_cache(maxsize=65536)
def _literal(text: str) -> tuple[Any, ...] | None:
    """The elements of a list or tuple literal, None for anything else; nothing is ever evaluated."""
    if len(text) > _LONGEST_LITERAL:
        return None
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return tuple(value) if isinstance(value, list | tuple) else None


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "…")


def read_table(path: Path, columns: Sequence[str], *, separator: str, skips: Skips | None = None) -> Iterator[Row]:
    """The rows of a table with a header; further columns are allowed, and so is any order.

    Args:
        path: UTF-8 text.
        columns: names that the header must have.
        separator: one character.
        skips: told of rows whose number of cells is not the header's, which are then left out; without it such a row
            is an error.

    Raises:
        UserError: no such file, not text, another separator, a missing column, a broken row.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=separator)
            header = next(reader, [])
            places = {name.strip(): place for place, name in reversed(list(enumerate(header)))}
            _check_header(path, header, places, columns, separator)
            for cells in reader:
                if not cells:
                    continue
                row = Row(path, reader.line_num, places, cells)
                if len(cells) != len(header):
                    problem = f"{len(cells)} cells where the header has {len(header)}"
                    if skips is None:
                        raise UserError(f"{path}, row {row.number}: {problem}")
                    skips.add("wrong number of cells", f"row {row.number}: {problem}")
                    continue
                yield row
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{path}, row {reader.line_num}: {error}") from None


def _check_header(
    path: Path, header: Sequence[str], places: dict[str, int], columns: Sequence[str], separator: str
) -> None:
    missing = [name for name in columns if name not in places]
    if not missing:
        return
    line = separator.join(header)
    for other, name in SEPARATORS.items():
        if other != separator and set(columns) <= {cell.strip() for cell in line.split(other)}:
            raise UserError(f"{path}: columns are separated by {name}, expected {SEPARATORS[separator]}")
    found = _shorten(", ".join(header)) if header else "an empty file"
    raise UserError(f"{path}: no column {', '.join(missing)}; the header is {found}")


def read_json(path: Path) -> Any:
    """The value of a JSON file; UserError for a file that is missing or no JSON."""
    try:
        with path.open(encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None


def checksum(path: Path) -> str:
    """SHA-256 of a file, hexadecimal, to be printed with every score that rests on it."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    return digest.hexdigest()
