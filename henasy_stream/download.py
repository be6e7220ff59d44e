"""Downloads public weights: resumes, verifies, and says what to do where there is no network."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import http.client
import json
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from henasy_stream import __version__
from henasy_stream._progress import Bar
from henasy_stream.errors import UserError

_CHUNK = 1 << 20
_TIMEOUT_S = 30.0
_PAUSES_S = (1.0, 2.0, 4.0, 8.0)
"""Between attempts that bring nothing; one that brings something starts again with the first."""

_BROKEN = (urllib.error.URLError, http.client.HTTPException, OSError)


@dataclass(frozen=True, kw_only=True)
class Release:
    """A published file.

    `md5_prefix`: the hexadecimal digits of its MD5 that the publisher names.
    """

    name: str
    base_url: str
    file_name: str
    md5_prefix: str
    licence: str

    @property
    def url(self) -> str:
        """Where the file is published."""
        return f"{self.base_url}/{self.file_name}"


LAVILA_TSF_B = Release(
    name="LaViLa TSF-B dual encoder, zero-shot, epoch 5",
    base_url="https://dl.fbaipublicfiles.com/lavila/checkpoints/dual_encoders/ego4d",
    file_name="clip_openai_timesformer_base.narrator_rephraser.ep_0005.md5sum_d73a9c.pth",
    md5_prefix="d73a9c",
    licence="MIT, as https://github.com/facebookresearch/LaViLa says of itself; it names no other for the weights",
)
"""From LaViLa's docs/MODEL_ZOO.md.  Published are the first six digits of the MD5 and no other checksum.  They catch a
damaged file, not a forged one: against that stand HTTPS and the SHA-256 of the first complete download, which is noted
beside the file and which every later download must equal."""


def fetch(
    release: Release,
    folder: Path,
    *,
    report: Callable[[str], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """The release's file in `folder`, downloaded if it is not there; one that was cut off goes on where it stopped.

    Proxies are taken from the environment (https_proxy, no_proxy), as urllib does.

    Args:
        release: what to fetch.
        folder: where to; must exist.
        report: takes lines for the user; stderr when None.
        sleep: waits between attempts.

    Raises:
        UserError: no network, no room, the server refuses, or what came is not what was published.
    """
    report = report or (lambda line: print(line, file=sys.stderr))
    path = folder / release.file_name
    if path.exists():
        return path
    with _alone(folder / f"{release.file_name}.lock", release):
        if not path.exists():  # another process may have been faster
            report(f"downloading {release.name} from {release.url}")
            report(f"licence: {release.licence}")
            part = path.with_name(f"{path.name}.part")
            _download(release, part, report, sleep)
            _verify(release, part, path.with_name(f"{path.name}.json"))
            part.replace(path)
    return path


@contextlib.contextmanager
def _alone(lock: Path, release: Release) -> Iterator[None]:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"{release.file_name}: another process is downloading it; wait until it is done") from error
        yield


def _download(release: Release, part: Path, report: Callable[[str], None], sleep: Callable[[float], None]) -> None:
    """Fills `part` to the size that the server tells."""
    with Bar(release.file_name, counted="bytes") as bar:
        _persist(release, part, _Progress(bar, report), sleep)


def _persist(release: Release, part: Path, progress: _Progress, sleep: Callable[[float], None]) -> None:
    idle = 0  # attempts in a row that brought nothing
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _attempt(release, part, progress):
                return
            problem = "the connection was cut"
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise UserError(
                    f"{release.url}: the server answers {error.code} {error.reason}; {_by_hand(release)}"
                ) from error
            problem = f"the server answers {error.code} {error.reason}"
        except _BROKEN as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise UserError(f"{part.parent}: the disk is full; make room and run the same command again") from error
            problem = str(getattr(error, "reason", None) or error or type(error).__name__)
        got = part.stat().st_size if part.exists() else 0
        idle = 0 if got > before else idle + 1
        # Without a single byte there is likely no network, and nobody should wait long to be told so.
        if idle > (len(_PAUSES_S) if got else 1):
            if got:
                where = f"{release.file_name}: {problem} after {got / 1e6:.0f} MB"
                raise UserError(f"{where}; run the same command again to go on from there")
            raise UserError(f"cannot reach {urlsplit(release.url).hostname} ({problem}); {_by_hand(release)}")
        sleep(_PAUSES_S[max(idle - 1, 0)])


def _attempt(release: Release, part: Path, progress: _Progress) -> bool:
    """One request; True when the file is complete."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": f"henasy-stream/{__version__}"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(release.url, headers=headers)  # noqa: S310 - the address is a constant of ours
    try:
        answer = urllib.request.build_opener().open(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        total = (error.headers.get("Content-Range") or "").rpartition("/")[2]
        if error.code == 416 and total == str(have):
            return True
        if error.code == 416:  # what lies here is longer than what is published
            part.unlink()
            return False
        raise
    with answer:
        if answer.status != 206:
            have = 0
        length = answer.headers.get("Content-Length")
        total_size = have + int(length) if length else None
        if total_size is not None:
            _check_room(part, total_size - have)
        with part.open("r+b" if have else "wb") as file:
            file.seek(have)
            done = have + _copy(answer, file, have, total_size, progress)
    return total_size is None or done == total_size


def _copy(answer: IO[bytes], file: IO[bytes], have: int, total: int | None, progress: _Progress) -> int:
    copied = 0
    while chunk := answer.read(_CHUNK):
        file.write(chunk)
        copied += len(chunk)
        progress.show(have + copied, total)
    return copied


class _Progress:
    """The bar, or a line every ten per cent where it would fill a log."""

    def __init__(self, bar: Bar, report: Callable[[str], None]) -> None:
        self._bar = bar
        self._report = report
        self._shown = -1

    def show(self, done: int, total: int | None) -> None:
        self._bar.show(done, total)
        tenth = done * 10 // total if total else done // 100_000_000
        if tenth > self._shown and not self._bar.drawn:
            self._shown = tenth
            share = f" of {total / 1e6:.0f} MB ({done * 100 // total} %)" if total else ""
            self._report(f"{done / 1e6:.0f} MB{share}")


def _check_room(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise UserError(
            f"{part.parent}: {needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free; "
            "make room, or set HENASY_CACHE to a folder on another disk"
        )


def _verify(release: Release, part: Path, note: Path) -> None:
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with part.open("rb") as file:
        while chunk := file.read(_CHUNK):
            md5.update(chunk)
            sha256.update(chunk)
    if not md5.hexdigest().startswith(release.md5_prefix):
        part.unlink()
        raise UserError(
            f"{release.file_name}: its MD5 is {md5.hexdigest()}, published is {release.md5_prefix}…; the damaged file "
            "was removed, run the same command again"
        )
    if note.exists():
        first = json.loads(note.read_text(encoding="utf-8"))["sha256"]
        if first != sha256.hexdigest():
            raise UserError(
                f"{release.file_name}: differs from the file that was first downloaded (SHA-256 {first[:12]}…, "
                f"see {note}); if the publisher replaced it, delete {note.name} and run the same command again"
            )
    size = part.stat().st_size
    content = {"url": release.url, "bytes": size, "md5": md5.hexdigest(), "sha256": sha256.hexdigest()}
    note.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _by_hand(release: Release) -> str:
    name = release.file_name
    return f"elsewhere run `curl -L -C - -O {release.url}`, bring the file here and give it as --weights {name}"
