"""Built engines on disk: which fits, what differs where none does, and that two processes build one only once.

An engine is a file and, beside it, a fingerprint that says what it was built from and for.  What is half written, or
was changed since, has no fingerprint that fits and is never loaded.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from henasy_stream.backends.bundle import FileSum, sum_of
from henasy_stream.cache import cache_path
from henasy_stream.errors import UserError

SCHEMA = 1
_LARGEST_FINGERPRINT = 64 << 10
_WAIT_S = 0.2
_TOLD_S = 5.0
_NAMES = {
    "flavour": "runtime",
    "version": "version",
    "compute_capability": "compute capability",
    "precision": "precision",
    "onnx_sha256": "graph",
}
"""What an engine depends on, as people call it."""


class EngineKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that an engine depends on.

    model, graph: whose it is, for people and to find its kin; the graph itself is `onnx_sha256`.  flavour: module that
    built it.  version: of that module, in full.  compute_capability: "8.7", of the GPU that it is for.
    """

    model: str
    graph: str
    flavour: str
    version: str
    compute_capability: str
    precision: str
    onnx_sha256: str

    @property
    def stem(self) -> str:
        """Of its files: readable, and another one for every other key."""
        digest = hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]
        return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', self.model)[:48]}-{self.graph}-{self.flavour}-{digest}"


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What lies beside an engine.  engine: size and SHA-256 of the file.  seconds: that building it took."""

    schema: int
    key: EngineKey
    engine: FileSum
    seconds: float


class NoEngineError(UserError):
    """None that fits has been built yet."""


def engines_folder() -> Path:
    """Where engines are kept; it may not exist yet."""
    return cache_path() / "engines"


def engine_path(folder: Path, key: EngineKey) -> Path:
    """Where the engine of a key is, or would be."""
    return folder / f"{key.stem}.engine"


def find_engine(folder: Path, key: EngineKey, rebuild: str) -> Path:
    """The file of an engine that fits, looked at as a whole.

    Args:
        folder: of engines.
        key: what it must have been built from and for.
        rebuild: the command that builds it, for the error.

    Raises:
        NoEngineError: there is none, it was changed, or what there is was built for something else: names what.
    """
    path = engine_path(folder, key)
    found = _read(path)
    if path.is_file() and found is None:
        raise NoEngineError(f"{path} has no fingerprint that can be read, so it may be half written; {rebuild}")
    if found is None:
        raise NoEngineError(f"{_nearest(folder, key)}; {rebuild}")
    if differences := differing(found.key, key):
        raise NoEngineError(f"{path} was built for something else: {differences}; {rebuild}")
    if not path.is_file():
        raise NoEngineError(f"{path} is missing beside its fingerprint; {rebuild}")
    if path.stat().st_size != found.engine.size or sum_of(path) != found.engine:
        raise NoEngineError(f"{path} is not what was built (its SHA-256 differs); {rebuild}")
    return path


def differing(built: EngineKey, wanted: EngineKey) -> str:
    """In words, what one engine was built for and what is here; empty when nothing differs."""
    told = []
    for name, called in _NAMES.items():
        there, here = getattr(built, name), getattr(wanted, name)
        if there != here:
            cut = slice(0, 12) if name == "onnx_sha256" else slice(None)
            told.append(f"{called} {there[cut]}, here it is {here[cut]}")
    return "; ".join(told)


def build_once(
    folder: Path,
    key: EngineKey,
    build: Callable[[Path, int], None],
    report: Callable[[str], None],
    *,
    force: bool = False,
) -> Path:
    """The engine of a key, built unless it is there; of processes that want it at once, one builds and all have it.

    Args:
        folder: of engines, made if missing.
        key: what it is built from and for.
        build: writes the engine to a path; gets the descriptor of the lock, which its own children may keep.
        report: told that another process is waited for.
        force: build even if it is there.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    path = engine_path(folder, key)
    asked = time.time()
    with _writing(folder), _alone(path, report) as lock:
        with contextlib.suppress(NoEngineError):
            there = find_engine(folder, key, "")
            if not force or there.stat().st_mtime > asked:  # another process has just built it
                return there
        for left in folder.glob(f"{path.name}.*.part"):  # by a build that was killed: nobody else has the lock
            left.unlink()
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        began = time.monotonic()
        try:
            build(part, lock)
            engine = sum_of(part)
            _sync(part)
            _fingerprint_path(path).unlink(missing_ok=True)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        seconds = round(time.monotonic() - began, 1)
        _write(path, Fingerprint(schema=SCHEMA, key=key, engine=engine, seconds=seconds))
    return path


def read_fingerprint(engine: Path) -> Fingerprint:
    """What lies beside an engine.

    Raises:
        UserError: nothing that can be read.
    """
    found = _read(engine)
    if found is None:
        raise UserError(f"{_fingerprint_path(engine)} is missing or damaged; build the engine again")
    return found


def _nearest(folder: Path, key: EngineKey) -> str:
    """Of the engines of the same graph, the one that differs in least."""
    there = [found for path in sorted(folder.glob("*.engine")) if (found := _read(path)) is not None]
    kin = [found.key for found in there if (found.key.model, found.key.graph) == (key.model, key.graph)]
    told = sorted((differing(other, key) for other in kin), key=lambda text: text.count(";"))
    if not told:
        return f"no engine of {key.model} ({key.graph}) is in {folder}"
    return f"the engine of {key.model} ({key.graph}) in {folder} was built for something else: {told[0]}"


def _fingerprint_path(engine: Path) -> Path:
    return engine.with_suffix(".json")


def _read(engine: Path) -> Fingerprint | None:
    path = _fingerprint_path(engine)
    try:
        if path.stat().st_size > _LARGEST_FINGERPRINT:
            return None
        found = msgspec.json.decode(path.read_bytes(), type=Fingerprint)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.schema == SCHEMA else None


def _write(engine: Path, fingerprint: Fingerprint) -> None:
    path = _fingerprint_path(engine)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(msgspec.json.format(msgspec.json.encode(fingerprint), indent=1) + b"\n")
        _sync(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Waits until it is on the disk: a name must not outlive, at a loss of power, what it names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    elsewhere = "set HENASY_CACHE to a folder you may write"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"no space left in {folder} for the engine; make room, or set HENASY_CACHE to a folder on another disk"
            ) from error
        raise UserError(f"engines cannot be written to {folder} ({error.strerror}); {elsewhere}") from error


@contextlib.contextmanager
def _alone(engine: Path, report: Callable[[str], None]) -> Iterator[int]:
    """Holds the lock of one engine; the kernel takes it back from a process that is killed."""
    with engine.with_suffix(".lock").open("a+") as file:
        began, told = time.monotonic(), float("-inf")
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited = time.monotonic() - began
                if waited - told >= _TOLD_S:
                    file.seek(0)
                    report(f"process {file.read(16) or '?'} builds this engine; waiting for it ({waited:.0f} s)")
                    told = waited
                time.sleep(_WAIT_S)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()
