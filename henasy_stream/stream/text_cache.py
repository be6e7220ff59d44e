"""Text embeddings that are computed once and kept on disk, text by text, so that what was interrupted goes on."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from henasy_stream.backends.base import Backend
from henasy_stream.cache import cache_path
from henasy_stream.types import FloatArray

_log = logging.getLogger(__name__)

PROBE = "a hand holds a cup"
_PROBE_TOLERANCE = 1e-3
_ASKED_AT_ONCE = 500
_WAIT_S = 5.0  # for another process that writes


class TextCache:
    """The embeddings that some weights gave before.

    One file for each model id; a text is found by the hash of what it says.  One text is embedded anew at the start and
    compared, so that weights that were retrained under an old name are noticed.  A damaged file is written again; a
    folder that cannot be written costs time only.  Both are logged.
    """

    def __init__(self, backend: Backend) -> None:
        spec = backend.spec
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", spec.model_id)[:60]
        digest = hashlib.sha256(f"{spec.model_id}\0{spec.embed_dim}".encode("utf-8", "surrogatepass")).hexdigest()
        self.path = cache_path() / "texts" / f"{name}-{digest[:12]}.sqlite"
        self._width = spec.embed_dim
        self._writable = True
        probe = backend.embed_texts([PROBE])
        kept, found = self.get([PROBE])
        if not found[0] or np.abs(kept - probe).max() > _PROBE_TOLERANCE:
            self._remove()
            self.put([PROBE], probe)

    def get(self, texts: Sequence[str]) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """(N, D) embeddings, zeros for those that are not known, and (N,) whether they are."""
        vectors = np.zeros((len(texts), self._width), np.float32)
        found = np.zeros(len(texts), bool)
        if not texts or not self.path.exists():
            return vectors, found
        rows = {_key(text): row for row, text in enumerate(texts)}
        keys = list(rows)
        try:
            with self._open() as connection:
                for start in range(0, len(keys), _ASKED_AT_ONCE):
                    some = keys[start : start + _ASKED_AT_ONCE]
                    asked = ",".join("?" * len(some))
                    for key, blob in connection.execute(f"SELECT key, vector FROM texts WHERE key IN ({asked})", some):  # noqa: S608
                        vector = np.frombuffer(blob, np.float32)
                        if vector.shape == (self._width,) and np.isfinite(vector).all():
                            vectors[rows[key]], found[rows[key]] = vector, True
        except (sqlite3.Error, ValueError, TypeError) as error:
            _log.warning("text cache %s is damaged (%s) and is written again", self.path, error)
            self._remove()
        return vectors, found

    def put(self, texts: Sequence[str], vectors: FloatArray) -> None:
        """Keeps the embeddings (N, D) of `texts`."""
        if not self._writable:
            return
        rows = [(_key(text), vector.astype(np.float32).tobytes()) for text, vector in zip(texts, vectors, strict=True)]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._open() as connection, connection:
                connection.execute("CREATE TABLE IF NOT EXISTS texts (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
                connection.executemany("INSERT OR REPLACE INTO texts VALUES (?, ?)", rows)
        except (OSError, sqlite3.Error) as error:
            self._writable = False
            _log.warning(
                "text embeddings could not be kept in %s (%s); set HENASY_CACHE to a writable folder", self.path, error
            )

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        # Opened anew each time: a connection belongs to one thread.
        connection = sqlite3.connect(self.path, timeout=_WAIT_S)
        try:
            yield connection
        finally:
            connection.close()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            Path(self.path).unlink()


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
