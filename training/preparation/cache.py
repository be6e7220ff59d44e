"""Phrases by text on disk, so that no narration is read twice: one SQLite file, safe to interrupt and to share."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from henasy_stream.errors import UserError

_TABLE = "CREATE TABLE IF NOT EXISTS texts (key BLOB PRIMARY KEY, value TEXT) WITHOUT ROWID"
_SELECT = 500


class TextCache:
    """What an engine made of each text.

    Args:
        path: the file; created with its folder.
        engine: name and version of what reads the texts; another engine finds nothing of this one's.

    Raises:
        UserError: the file is no cache.
    """

    def __init__(self, path: Path, engine: str) -> None:
        self._path, self._engine = path, engine
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=60)
        try:
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS texts (key BLOB PRIMARY KEY, value TEXT) WITHOUT ROWID"
            )
        except sqlite3.DatabaseError as error:
            raise UserError(f"{path}: {error}; delete the file, it is only a cache") from error

    def __enter__(self) -> TextCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def get(self, texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """What is known of the texts."""
        keys = {self._key(text): text for text in texts}
        found: dict[str, tuple[str, ...]] = {}
        wanted = list(keys)
        for start in range(0, len(wanted), _SELECT):
            part = wanted[start : start + _SELECT]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, value FROM texts WHERE key IN ({marks})"  # noqa: S608 - question marks only
            for key, value in self._connection.execute(query, part):
                found[keys[key]] = tuple(json.loads(value))
        return found

    def put(self, entries: Mapping[str, Sequence[str]]) -> None:
        """Keeps the entries; all or none of them."""
        rows = [(self._key(text), json.dumps(list(phrases))) for text, phrases in entries.items()]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO texts VALUES (?, ?)", rows)

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self._engine}\0{text}".encode()).digest()
