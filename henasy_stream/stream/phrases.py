"""Phrase files, the built-in phrases, and text embeddings that are computed once and kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from henasy_stream.backends.base import Backend
from henasy_stream.cache import cache_path
from henasy_stream.errors import UserError
from henasy_stream.types import FloatArray, ModelSpec

_log = logging.getLogger(__name__)

_EVERYDAY = Path(__file__).with_name("everyday_phrases.txt")
_CHUNK = 256
_PROBE_TOLERANCE = 1e-3

Progress = Callable[[int, int], None]
"""Called with (texts done, texts in all)."""


def load_phrases(path: str | Path) -> tuple[str, ...]:
    """One phrase a line; blank lines, comments and repetitions are left out.

    A comment starts with `#`, except for Ego4D's marks of who acts (`#C C picks up a cup`, `#O a man waves`).

    Raises:
        UserError: the file cannot be read, is not UTF-8 (names the line), or holds no phrase.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the phrase file {path}: {error.strerror or error}") from error
    phrases: dict[str, None] = {}
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        try:
            text = " ".join(line.decode("utf-8").split())
        except UnicodeDecodeError as error:
            raise UserError(f"{path}, line {number}, is not UTF-8 text: save the file as UTF-8") from error
        if text and (not text.startswith("#") or re.match(r"#[COco] ", text)):
            phrases[text] = None
    if not phrases:
        raise UserError(f"the phrase file {path} holds no phrase: write one a line, such as 'washes a cup'")
    return tuple(phrases)


def default_phrases(spec: ModelSpec) -> tuple[str, ...]:
    """The bank when the user brings none: the weights' own, their verbs with their nouns, or everyday actions."""
    if spec.phrases:
        return tuple(dict.fromkeys(spec.phrases))
    if spec.verbs and spec.nouns:
        return tuple(f"{verb} {noun}" for verb in spec.verbs for noun in spec.nouns)
    return load_phrases(_EVERYDAY)


def embed_cached(backend: Backend, texts: Sequence[str], progress: Progress | None = None) -> FloatArray:
    """(N, D) embeddings of `texts`, from disk when the same weights have seen the same texts.

    The file is keyed by the model's id and the texts.  The first text is embedded anew and compared, so that weights
    that were retrained under an old name are noticed; a damaged file is written again.  A folder that cannot be written
    costs time only and is logged.
    """
    if not texts:
        return np.zeros((0, backend.spec.embed_dim), np.float32)
    digest = hashlib.sha256("\n".join([backend.spec.model_id, *texts]).encode("utf-8", "surrogatepass")).hexdigest()
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", backend.spec.model_id)[:60]
    path = cache_path() / "texts" / f"{name}-{digest[:24]}.npz"
    probe = backend.embed_texts(texts[:1])
    cached = _read(path, (len(texts), backend.spec.embed_dim))
    if cached is not None and np.abs(cached[:1] - probe).max() <= _PROBE_TOLERANCE:
        return cached
    parts = [probe]
    for start in range(1, len(texts), _CHUNK):
        parts.append(backend.embed_texts(texts[start : start + _CHUNK]))
        if progress is not None:
            progress(min(start + _CHUNK, len(texts)), len(texts))
    embeddings = np.concatenate(parts).astype(np.float32)
    _write(path, embeddings)
    return embeddings


def _read(path: Path, shape: tuple[int, int]) -> FloatArray | None:
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            embeddings: FloatArray = archive["embeddings"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        _log.warning("text cache %s is damaged (%s) and is written again", path, error)
        return None
    usable = embeddings.shape == shape and embeddings.dtype == np.float32 and bool(np.isfinite(embeddings).all())
    return embeddings if usable else None


def _write(path: Path, embeddings: FloatArray) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.savez(file, embeddings=embeddings)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        _log.warning("text embeddings could not be kept in %s (%s); set HENASY_CACHE to a writable folder", path, error)
