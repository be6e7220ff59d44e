"""A model as a folder of graphs that run without PyTorch: what is in it, and that nobody has changed it.

`manifest.json` is the one source of truth for names, shapes and types of what goes into a graph and comes out.  Nothing
in a bundle is ever executed but the graphs, by a runtime that knows their operators.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from henasy_stream.errors import UserError
from henasy_stream.types import ModelSpec

SCHEMA = 1
MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
DType = Literal["uint8", "int64", "float16", "float32"]
_LARGEST_MANIFEST = 4 << 20


class Port(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tensor that goes in or comes out.  shape: a name is a size that may change.  low, high: of its values."""

    name: str
    dtype: DType
    shape: tuple[int | str, ...]
    low: float | None = None
    high: float | None = None


class Graph(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of operators.

    state: which output is which input of the next step.  operators: how many of each kind.  parity: largest absolute
    difference of each output from the reference, on the inputs that the export names.
    """

    file: str
    opset: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    state: dict[str, str] = {}
    operators: dict[str, int] = {}
    parity: dict[str, float] = {}


class FileSum(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one file: bytes, and SHA-256 in hexadecimal."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `manifest.json` says.

    made_by: version and commit of the exporter.  precision: of the network's tensors.  vocabulary_hash: SHA-256 of the
    labels, one a line.  context: tokens of the longest text.  graphs: by name: "window" or "causal", and "text".
    """

    schema: int
    made_by: str
    precision: Literal["fp32", "fp16", "int8"]
    spec: ModelSpec
    vocabulary_hash: str
    context: int
    graphs: dict[str, Graph]
    files: dict[str, FileSum]


@dataclass(frozen=True, eq=False)
class Bundle:
    """A folder whose files are those of its manifest."""

    folder: Path
    manifest: Manifest

    def path(self, graph: str) -> Path:
        """The file of a graph.

        Raises:
            UserError: the bundle has no such graph.
        """
        if graph not in self.manifest.graphs:
            there = ", ".join(self.manifest.graphs)
            raise UserError(f"the bundle {self.folder} has no graph {graph!r}, only {there}; export it again")
        return self.folder / self.manifest.graphs[graph].file


def is_bundle(path: Path) -> bool:
    """Whether a folder says that it is one."""
    return (path / MANIFEST).is_file()


def open_bundle(folder: str | Path) -> Bundle:
    """Reads a bundle and checks each of its files.

    Raises:
        UserError: it is missing, foreign, of another version, incomplete or changed; names the file.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    for name in (*manifest.files, *(graph.file for graph in manifest.graphs.values())):
        check_file(folder, name, manifest)
    return Bundle(folder, manifest)


def read_manifest(folder: Path) -> Manifest:
    """What a bundle says of itself; the files are not looked at.

    Raises:
        UserError: it is missing, damaged, foreign or of another version.
    """
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _LARGEST_MANIFEST:
            raise UserError(f"{path} is no manifest of a bundle: it is larger than {_LARGEST_MANIFEST >> 20} MiB")
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give a folder that export.py has made") from None
    try:
        schema = json.loads(text).get("schema")
    except (ValueError, AttributeError):
        raise UserError(f"{path} is damaged or no manifest of a bundle; export it again") from None
    if schema != SCHEMA:
        raise UserError(f"{path} has schema {schema!r}, this version reads {SCHEMA}; export it again")
    try:
        return msgspec.json.decode(text, type=Manifest)
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: {error}; export it again") from None


def sum_of(path: Path) -> FileSum:
    """Of a file on disk."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return FileSum(size=path.stat().st_size, sha256=digest.hexdigest())


def check_file(folder: Path, name: str, manifest: Manifest) -> None:
    """Raises the UserError that `open_bundle` raises for one file that is missing, incomplete or changed."""
    if Path(name).name != name or name not in manifest.files:
        raise UserError(f"{folder / MANIFEST}: {name!r} is not a file of the bundle; export it again")
    path, wanted = folder / name, manifest.files[name]
    if not path.is_file():
        raise UserError(f"{path} is missing from the bundle; copy or export it again")
    if path.stat().st_size != wanted.size:
        raise UserError(f"{path} has {path.stat().st_size} bytes instead of {wanted.size}; copy or export it again")
    if sum_of(path) != wanted:
        raise UserError(f"{path} is not the file that was exported (its SHA-256 differs); copy or export it again")
