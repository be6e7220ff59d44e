"""The files of a rosbag2 recording: MCAP and SQLite, whole or cut off, compressed or not.

A recorder that was killed leaves a file without an index, a chunk that is half written, or a database whose last pages
are missing.  What is readable is read; `damage` says what is not.  Messages come in the order in which they stand in
the file, which is that of their arrival, so nothing has to be sorted and memory stays that of one chunk.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from henasy_stream.errors import UserError
from henasy_stream.sources import _paths
from henasy_stream.sources.images import natural_key

SUFFIXES = (".mcap", ".db3")
_COMPRESSED = (".zstd", ".zst")
MAX_RECORD_BYTES = 1 << 30
"""No chunk or message may be larger, packed or unpacked."""

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, kw_only=True, order=True)
class Topic:
    """A topic of a bag; `type` as `sensor_msgs/msg/Image`, `count` messages, `encoding` of them (ROS 2: cdr)."""

    name: str
    type: str
    count: int
    encoding: str = "cdr"


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A message as it is in the file; `logged_ns` is when the recorder got it."""

    topic: str
    logged_ns: int
    data: bytes


class BagFile(Protocol):
    """One file of a bag."""

    path: Path

    @property
    def damage(self) -> str:
        """What of it cannot be read, as far as that is known by now, for the user; empty when all can."""
        ...

    def topics(self) -> list[Topic]:
        """What is in it."""
        ...

    def read(self, topics: Collection[str]) -> Iterator[Record]:
        """The messages of these topics; never raises for what is in the file."""
        ...

    def close(self) -> None:
        """Closes the file."""
        ...


def bag_files(path: Path) -> list[Path]:
    """The files that hold the messages of a bag, in the order in which they were recorded.

    Raises:
        UserError: the path is not there, or is no bag.
    """
    try:
        if not path.exists():
            raise _paths.missing(path)
        if not path.is_dir():
            if path.suffix == ".bag":
                raise UserError(f"{path}: a bag of ROS 1; convert it: rosbags-convert --src {path} --dst {path.stem}")
            if not _is_bag(path):
                raise UserError(f"{path}: not a bag; give a folder of rosbag2, or a file .mcap or .db3")
            return [path]
        found = sorted((p for p in path.iterdir() if p.is_file() and _is_bag(p)), key=natural_key)
    except OSError as error:
        raise _paths.unreadable(path, error) from error
    if not found:
        raise UserError(f"{path}: no bag, there is neither .mcap nor .db3 in this folder")
    return found


def open_file(path: Path) -> BagFile:
    """Opens one of `bag_files`.

    Raises:
        UserError: it is empty or unreadable, nothing of it can be read, or the package for it is not installed.
    """
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path}: the file is empty; record or copy it again")
        if path.suffix in _COMPRESSED:
            return _Unpacked(path)
        from henasy_stream.sources.bag_mcap import McapFile
        from henasy_stream.sources.bag_sqlite import SqliteFile

        return McapFile(path) if path.suffix == ".mcap" else SqliteFile(path)
    except OSError as error:
        raise _paths.unreadable(path, error) from error


def needed(error: ImportError) -> UserError:
    """The error for a package of the extra that is missing."""
    return UserError(f"bags are read by packages that are not installed ({error}): pip install 'henasy-stream[bag]'")


class _Unpacked:
    """A file that was compressed as a whole, unpacked into a temporary one."""

    def __init__(self, path: Path) -> None:
        try:
            import zstandard
        except ImportError as error:
            raise needed(error) from error
        self.path = path
        self._folder = tempfile.TemporaryDirectory(prefix="henasy-bag-")
        plain = Path(self._folder.name) / path.stem
        self._cut_off = False
        try:
            with path.open("rb") as packed, plain.open("wb") as out:
                try:
                    shutil.copyfileobj(
                        zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True), out, 1 << 20
                    )
                except zstandard.ZstdError:
                    self._cut_off = True
            self._file = open_file(plain)
        except OSError as error:
            self._folder.cleanup()
            raise UserError(f"{path}: cannot be unpacked into {plain.parent} ({error.strerror}); make room") from error
        except UserError as error:
            self._folder.cleanup()
            raise UserError(str(error).replace(str(plain), str(path))) from None

    @property
    def damage(self) -> str:
        return "it was compressed and is cut off; what can be unpacked is read" if self._cut_off else self._file.damage

    def topics(self) -> list[Topic]:
        return self._file.topics()

    def read(self, topics: Collection[str]) -> Iterator[Record]:
        return self._file.read(topics)

    def close(self) -> None:
        self._file.close()
        self._folder.cleanup()


def unpacked_message(data: bytes) -> bytes:
    """The message of a record that rosbag2 compressed by itself; others as they are.

    Raises:
        ValueError: it is damaged, or unpacks to more than a gigabyte.
    """
    if not data.startswith(_ZSTD_MAGIC):  # CDR begins with two bytes that are 0 and at most 11
        return data
    import zstandard

    try:
        with zstandard.ZstdDecompressor().stream_reader(data) as reader:
            plain = bytes(reader.read(MAX_RECORD_BYTES))
    except zstandard.ZstdError as error:
        raise ValueError(f"a compressed message is damaged ({error})") from error
    if len(plain) == MAX_RECORD_BYTES:
        raise ValueError("a compressed message unpacks to more than a gigabyte")
    return plain


def _is_bag(path: Path) -> bool:
    suffix = Path(path.stem).suffix if path.suffix in _COMPRESSED else path.suffix
    return suffix in SUFFIXES
