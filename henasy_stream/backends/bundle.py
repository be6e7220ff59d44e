"""A model as a folder of graphs that run without PyTorch: what is in it, and that nobody has changed it.

`manifest.json` is the one source of truth for names, shapes and types of what goes into a graph and comes out.  Nothing
in a bundle is ever executed but the graphs, by a runtime that knows their operators, and nothing is unpickled.
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

SCHEMA = 2
MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
INITIAL = "initial.npz"
EMBEDDINGS = "embeddings.npz"
DType = Literal["uint8", "int64", "float16", "float32"]
_LARGEST_MANIFEST = 4 << 20


class Port(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tensor that goes in or comes out.  shape: a name is a size that may change.  low, high: of its values."""

    name: str
    dtype: DType
    shape: tuple[int | str, ...]
    low: float | None = None
    high: float | None = None


class Measured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a graph is from the reference, over `steps` on the synthetic stream, each from the reference's state.

    worst: largest absolute difference by output, over steps in which no assignment flipped.  flips: steps in which one
    did, where the reference was undecided.  tolerance: beyond which the two count as different.  rollout: as worst,
    when the graph goes on from its own state.
    """

    steps: int
    flips: int
    tolerance: float
    worst: dict[str, float]
    rollout: dict[str, float] = {}


class Assignments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What half precision did to the assignments.  error: of the similarities, of their range.  tokens, flips: how
    many there were, and how many chose another group.
    """

    error: float
    tokens: int
    flips: int


class Graph(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of operators.

    data: the file beside it that holds its weights, where they are too large for one.  state: which input is which
    output of the step before.  operators: how many of each kind.
    """

    file: str
    opset: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    data: str | None = None
    state: dict[str, str] = {}
    operators: dict[str, int] = {}
    parity: Measured | None = None


class FileSum(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one file: bytes, and SHA-256 in hexadecimal.  beside: the bundle beside this one that holds it, None here."""

    size: int
    sha256: str
    beside: str | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `manifest.json` says.

    made_by: version of the exporter; commit: its git id.  precision: of the network's tensors; "int8" is for CPUs, the
    last two for TensorRT.  spec: the weights, how pictures are prepared for them, the vocabulary.  vocabulary_hash: see
    `vocabulary_hash`.  context: tokens of the longest text.  graphs: by name: "window" or "causal", "text", and parts
    on request.  program: the file for `torch.export.load`, which the node never opens.
    """

    schema: int
    made_by: str
    commit: str
    precision: Literal["fp32", "fp16", "int8", "int8-qdq", "fp8-qdq"]
    spec: ModelSpec
    vocabulary_hash: str
    context: int
    graphs: dict[str, Graph]
    files: dict[str, FileSum]
    assignments: Assignments | None = None
    program: str | None = None


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
        return place_of(self.folder, self.manifest.graphs[graph].file, self.manifest)


def vocabulary_hash(spec: ModelSpec) -> str:
    """SHA-256 of all texts that weights bring along, in hexadecimal."""
    texts = [spec.nouns, spec.background, spec.verbs, spec.phrases]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


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
    graphs = manifest.graphs.values()
    for name in (
        GOLDEN,
        EMBEDDINGS,
        *(graph.file for graph in graphs),
        *(graph.data for graph in graphs if graph.data),
    ):
        if name not in manifest.files:
            raise UserError(f"{folder / MANIFEST}: {name!r} is not a file of the bundle; export it again")
    for name in manifest.files:
        check_file(folder, name, manifest)
    if vocabulary_hash(manifest.spec) != manifest.vocabulary_hash:
        raise UserError(
            f"{folder / MANIFEST}: the vocabulary is not the one that was exported (its hash differs); export it again"
        )
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
        newer = isinstance(schema, int) and schema > SCHEMA
        remedy = "update henasy-stream" if newer else "export it again"
        raise UserError(f"{path} has schema {schema!r}, this version reads {SCHEMA}; {remedy}")
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


def place_of(folder: Path, name: str, manifest: Manifest) -> Path:
    """Where a file of a bundle lies.

    Raises:
        UserError: the manifest does not know it, or leads elsewhere than into this folder or one beside it.
    """
    wanted = manifest.files.get(name)
    if wanted is None or Path(name).name != name:
        raise UserError(f"{folder / MANIFEST}: {name!r} is not a file of the bundle; export it again")
    if wanted.beside is None:
        return folder / name
    if Path(wanted.beside).name != wanted.beside or wanted.beside == "..":
        raise UserError(f"{folder / MANIFEST}: {wanted.beside!r} is no bundle beside this one; export it again")
    return folder.resolve().parent / wanted.beside / name


def check_file(folder: Path, name: str, manifest: Manifest) -> None:
    """Raises the UserError that `open_bundle` raises for one file that is missing, incomplete or changed."""
    path = place_of(folder, name, manifest)
    wanted = manifest.files[name]
    if not path.is_file():
        raise UserError(f"{path} is missing from the bundle; copy or export it again")
    if path.stat().st_size != wanted.size:
        raise UserError(f"{path} has {path.stat().st_size} bytes instead of {wanted.size}; copy or export it again")
    if sum_of(path).sha256 != wanted.sha256:
        raise UserError(f"{path} is not the file that was exported (its SHA-256 differs); copy or export it again")
