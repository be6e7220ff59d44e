"""The files of a sharded map: written whole or not at all, and recognised when they are damaged."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from henasy_stream.errors import UserError

Content = Tensor | Mapping[str, Any]
"""A tensor, or a dict of tensors and dicts."""


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """What a manifest says of one file; `shape` is None where it holds several tensors."""

    bytes: int
    sha256: str
    shape: tuple[int, ...] | None

    def as_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {"bytes": self.bytes, "sha256": self.sha256, "shape": self.shape and list(self.shape)}

    @staticmethod
    def of(entry: Mapping[str, Any]) -> FileRecord:
        """From what `as_json` gave."""
        return FileRecord(bytes=entry["bytes"], sha256=entry["sha256"], shape=entry["shape"] and tuple(entry["shape"]))


def write_content(path: Path, content: Content, scratch: Path) -> FileRecord:
    """Write what `torch.load(…, weights_only=True)` reads; `scratch` as in `write_whole`."""
    if isinstance(content, Tensor):
        content = content.detach().cpu().clone()  # a view would be saved with all that it views
    stream = io.BytesIO()
    torch.save(content, stream)
    write_whole(path, stream.getvalue(), scratch)
    return _record(stream.getvalue(), content)


def examine(path: Path, fits: Callable[[Any], bool]) -> FileRecord | None:
    """What is in a file of `write_content`; None when it is missing, damaged, or doesn't fit."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if archive.testzip() is not None:  # compares the checksums that are in the file
                return None
        content = torch.load(io.BytesIO(data), weights_only=True)
    except Exception:  # noqa: BLE001 - a damaged file fails in any way it likes
        return None
    return _record(data, content) if fits(content) else None


def write_whole(path: Path, data: bytes, scratch: Path) -> None:
    """Write a file so that it is there whole or not at all, also after a loss of power.

    Args:
        path: the file.
        data: its content.
        scratch: a folder of the same file system for what is not finished; may be swept at any time.
    """
    part = scratch / f"{path.name}.{socket.gethostname()}-{os.getpid()}.part"
    while True:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            part.replace(path)
        except FileNotFoundError:
            continue  # swept
        return


def write_json(path: Path, content: object, scratch: Path) -> None:
    """`write_whole` of JSON text."""
    write_whole(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode(), scratch)


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty when there is no file.

    Raises:
        UserError: something else is there.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{path}: no JSON ({error}); delete it or choose another folder") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: no JSON object; delete it or choose another folder")
    return content


def _record(data: bytes, content: Any) -> FileRecord:
    shape = tuple(content.shape) if isinstance(content, Tensor) else None
    return FileRecord(bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), shape=shape)
