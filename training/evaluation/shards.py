"""One file for each item, made by any number of processes on any number of machines that share a folder.

A worker knows its rank and how many there are (torchrun's variables) and nothing else of the others: there are no
messages, no locks and no claims.  It makes its own share, items rank, rank + size, …; then it makes what still lacks a
file, whosesoever share that was.  A file takes its name when all of it is written: a killed worker leaves a missing
file, never half a one, and an item that two workers make at the same time has one file.  Whoever finds everything
there writes the manifest.

    DIR/<key>.pt                 a tensor, or a dict of tensors
    DIR/settings.json            what the files depend on; a run with other settings is refused
    DIR/manifest.json            written last: {settings, files: {key: {bytes, sha256, shape}}, unreadable}
    DIR/.work/<key>.unreadable   why an item has no file; its owner tries again in the next run
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from henasy_stream.errors import UserError
from training.data.records import ClipError
from training.distributed import Ranks, ranks_of_environment
from training.evaluation.shard_files import Content, FileRecord, examine, read_json_object, write_content, write_json

Item = TypeVar("Item")
Outcome = tuple[str, Content | ClipError]
"""The key of an item, and what its file holds or why it has none."""

MANIFEST = "manifest.json"
MIN_TRIED = 20
"""So many items are tried before the share of unreadable ones is judged."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """All that there is at the end, by key in the items' order: files, and {path, reason} of what has none."""

    files: dict[str, FileRecord]
    unreadable: dict[str, dict[str, str]]


@dataclass(kw_only=True)
class ShardedMap(Generic[Item]):
    """Items, and how to make their files.

    items, key: what is to be made, and the unique name of each.  compute: takes items and gives an outcome for each of
    them, as soon as it has it.  settings: all that the files depend on besides the item, for JSON.  fits: whether what
    a file holds can be the item's; what doesn't fit is made anew.  about: goes into the manifest and is not compared.
    max_unreadable: share of unreadable items above which a worker stops.  tell: takes a line for each unreadable item.
    """

    out: Path
    items: Sequence[Item]
    key: Callable[[Item], str]
    compute: Callable[[Iterator[Item]], Iterator[Outcome]]
    settings: Mapping[str, Any]
    fits: Callable[[Item, Any], bool] = lambda item, content: True
    about: Mapping[str, Any] = field(default_factory=dict)
    ranks: Ranks = field(default_factory=ranks_of_environment)
    max_unreadable: float = 0.02
    tell: Callable[[str], None] = lambda line: None
    _made: dict[str, FileRecord] = field(default_factory=dict, init=False)
    _tried: int = field(default=0, init=False)
    _failed: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._items = {self.key(item): item for item in self.items}
        if len(self._items) != len(self.items):
            raise ValueError(f"{len(self.items)} items have {len(self._items)} different keys")
        unsafe = next((key for key in self._items if not re.fullmatch(r"[\w-][\w.-]*", key)), None)
        if unsafe is not None:
            raise UserError(f"{unsafe!r} can't be the name of a file; expected letters, digits, '-', '_' and '.'")

    def run(self, seen: Callable[[str], None] = lambda key: None) -> Made:
        """Return when every item has a file, or a reason why it can't have one; the manifest says so too.

        Args:
            seen: told of each item of this worker's share that is there, and of those that it made for others.

        Raises:
            UserError: the folder was made with other settings, or too many items are unreadable.
        """
        self._scratch.mkdir(parents=True, exist_ok=True)
        self._check_settings()
        keys = list(self._items)
        own = keys[self.ranks.rank :: self.ranks.size]
        self._discard_bad(own)
        for key in own:
            if self.path(key).exists():
                seen(key)
        self._make(own, seen)
        self._make(self._left(keys), seen)
        return self._finish(keys)

    def path(self, key: str) -> Path:
        """Where an item's file lies."""
        return self.out / f"{key}.pt"

    @property
    def _scratch(self) -> Path:
        return self.out / ".work"

    def _reason(self, key: str) -> Path:
        return self._scratch / f"{key}.unreadable"

    def _is_settled(self, key: str) -> bool:
        return self.path(key).exists() or self._reason(key).exists()

    def _left(self, keys: Sequence[str]) -> list[str]:
        """What nobody has made yet: each worker begins elsewhere, and goes against the order of the owners."""
        there = {path.name for folder in (self.out, self._scratch) for path in folder.iterdir()}
        left = [key for key in reversed(keys) if not there & {self.path(key).name, self._reason(key).name}]
        first = self.ranks.rank * len(left) // self.ranks.size
        return left[first:] + left[:first]

    def _examine(self, key: str) -> FileRecord | None:
        return examine(self.path(key), lambda content: self.fits(self._items[key], content))

    def _discard_bad(self, keys: Iterable[str]) -> None:
        """Forget files that are damaged or not those of the manifest, and what could not be read the last time."""
        listed = self._manifest().get("files", {})
        for key in keys:
            record = self._examine(key)
            if record is None or listed.get(key, record.as_json()) != record.as_json():
                self.path(key).unlink(missing_ok=True)
            self._reason(key).unlink(missing_ok=True)

    def _make(self, keys: Sequence[str], seen: Callable[[str], None] = lambda key: None) -> None:
        """Make what nobody has made by the time its turn comes."""
        if all(map(self._is_settled, keys)):
            return
        for key, outcome in self.compute(self._items[key] for key in keys if not self._is_settled(key)):
            self._tried += 1
            if isinstance(outcome, ClipError):
                self._fail(key, outcome)
            elif not self.path(key).exists():
                assert self.fits(self._items[key], outcome), key
                self._made[key] = write_content(self.path(key), outcome, self._scratch)
            seen(key)

    def _fail(self, key: str, error: ClipError) -> None:
        self._failed += 1
        self.tell(f"{key}: {error}")
        write_json(self._reason(key), {"path": error.path, "reason": error.reason}, self._scratch)
        if self._tried >= MIN_TRIED and self._failed > self.max_unreadable * self._tried:
            raise UserError(
                f"{self._failed} of {self._tried} clips can't be read, more than {100 * self.max_unreadable:g} %; the "
                f"last: {error}; mend the data or raise max_unreadable"
            )

    def _check_settings(self) -> None:
        """Say what the files are made with, or see that what is here was made so."""
        path, settings = self.out / "settings.json", self._head()["settings"]
        if not path.exists():
            write_json(path, settings, self._scratch)
        found = read_json_object(path)
        for name in sorted({*settings, *found}):
            if settings.get(name) != found.get(name):
                raise UserError(
                    f"{self.out} was made with {name} {found.get(name)}, not {settings.get(name)}; choose another "
                    "folder or delete it"
                )

    def _manifest(self) -> dict[str, Any]:
        return read_json_object(self.out / MANIFEST)

    def _finish(self, keys: Sequence[str]) -> Made:
        """Write the manifest, unless another worker has written it for the files that are there now."""
        manifest = self._manifest()
        if self._is_current(manifest):
            entries = manifest["files"].items()
            return Made(files={key: FileRecord.of(entry) for key, entry in entries}, unreadable=manifest["unreadable"])
        made = Made(files={}, unreadable={})
        for key in keys:
            result = self._result(key)
            if isinstance(result, FileRecord):
                made.files[key] = result
            else:
                made.unreadable[key] = result
        files = {key: record.as_json() for key, record in made.files.items()}
        content = {**self._head(), "files": files, "unreadable": made.unreadable}
        write_json(self.out / MANIFEST, content, self._scratch)
        for part in self._scratch.glob("*.part"):
            part.unlink(missing_ok=True)
        return made

    def _result(self, key: str) -> FileRecord | dict[str, str]:
        """What the file is, or why there is none; made here and now if neither is there."""
        while True:
            if record := self._examine(key):
                return record
            if why := read_json_object(self._reason(key)):
                return why
            self.path(key).unlink(missing_ok=True)
            self._make([key])

    def _is_current(self, manifest: Mapping[str, Any]) -> bool:
        """Whether it names these items and no others, in the state in which they are."""
        files, unreadable = manifest.get("files", {}), manifest.get("unreadable", {})
        if {*files, *unreadable} != set(self._items) or {**manifest, **self._head()} != manifest:
            return False
        if any(files.get(key) != record.as_json() for key, record in self._made.items()):
            return False
        sizes = {key: self.path(key).stat().st_size if self.path(key).exists() else None for key in self._items}
        return all(size == (files[key]["bytes"] if key in files else None) for key, size in sizes.items())

    def _head(self) -> dict[str, Any]:
        """As JSON gives it back."""
        return json.loads(json.dumps({"settings": self.settings, **self.about}))
