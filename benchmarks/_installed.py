"""How much disk an installation takes, from the records that pip keeps; nothing is installed for it."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

import henasy_stream

NAME = "henasy-stream"


def megabytes(*extras: str) -> float:
    """Of henasy-stream with extras and all that they need, as installed here.

    Raises:
        PackageNotFoundError: a requirement is not installed.
    """
    own = Path(henasy_stream.__file__).parent
    needed = closure(NAME, frozenset(extras))
    size = sum(path.stat().st_size for path in own.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    for name in needed - {NAME}:
        paths = [Path(str(file.locate())) for file in distribution(name).files or ()]
        size += sum(path.stat().st_size for path in paths if path.is_file())
    return size / 1e6


def closure(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """Names of a distribution and of all that it requires here, with extras of its own."""
    found: set[str] = set()
    waiting = [(name, extra) for extra in ("", *extras)]
    seen = set()
    while waiting:
        about = waiting.pop()
        if about in seen:
            continue
        seen.add(about)
        found.add(about[0])
        for text in distribution(about[0]).requires or ():
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate({"extra": about[1]}):
                waiting += [(wanted.name.lower(), extra) for extra in ("", *wanted.extras)]
    return found
