"""What has been made of each row of a clip table, beside the table: small arrays that workers map without copying.

`<name>.npy` holds (N, width) int32 places in the list of words `<name>.txt`, -1 where a row has fewer; `<name>.json`
says for which narrations, made by what, with which counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from henasy_stream.errors import UserError
from training.data.clip_table import ClipTable
from training.data.hand_object import PADDING


def digest_of(table: ClipTable) -> str:
    """Changes with any narration and with their order."""
    digest = hashlib.sha256(table.texts.values.tobytes())
    digest.update(table.texts.bounds.tobytes())
    return digest.hexdigest()


def save_rows(
    folder: Path,
    name: str,
    table: ClipTable,
    rows: Sequence[Sequence[int]],
    words: Sequence[str],
    *,
    width: int,
    about: Mapping[str, Any],
) -> None:
    """Writes the three files, the json last, each whole or not at all.

    Args:
        folder: created if missing.
        name: "nouns" or "verbs".
        table: the narrations.
        rows: for each of them places in `words`, at most `width`.
        words: one a line.
        width: columns.
        about: engine and counts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    array = np.full((len(rows), width), PADDING, np.int32)
    for place, row in enumerate(rows):
        array[place, : len(row)] = row[:width]
    part = folder / f".{name}.part.npy"
    np.save(part, array)
    part.replace(folder / f"{name}.npy")
    write_whole(folder / f"{name}.txt", "".join(f"{word}\n" for word in words))
    facts = {**about, "rows": len(rows), "words": len(words), "narrations_sha256": digest_of(table)}
    write_whole(folder / f"{name}.json", json.dumps(facts, indent=1) + "\n")


def load_rows(folder: Path, name: str, table: ClipTable) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """The (N, width) array, mapped from the disk, and its words.

    Raises:
        UserError: not there, damaged, or made for other narrations than the table's.
    """
    path = folder / f"{name}.json"
    again = f"run prepare.py {name} again"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        words = tuple((folder / f"{name}.txt").read_text(encoding="utf-8").splitlines())
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}; {again}") from None
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); {again}") from None
    if facts.get("narrations_sha256") != digest_of(table) or len(array) != len(table):
        raise UserError(f"{path}: made for {facts.get('rows')} other narrations, not these {len(table)}; {again}")
    return array, words


def write_whole(path: Path, text: str) -> None:
    """Writes a text file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
