"""Errors about paths, told so that the user can mend them."""

from __future__ import annotations

import difflib
from pathlib import Path

from henasy_stream.errors import UserError


def missing(path: Path) -> UserError:
    """The error for a path that does not exist; suggests the closest name that does."""
    parent = path.parent
    if not parent.is_dir():
        return UserError(f"{path}: the folder {parent} does not exist; check the path")
    try:
        names = [p.name for p in parent.iterdir()]
    except OSError:
        names = []
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    hint = f"did you mean {parent / close[0]}?" if close else f"check the path (looked in {parent.resolve()})"
    return UserError(f"{path}: no such file; {hint}")


def unreadable(path: Path, error: OSError) -> UserError:
    """The error for a path that the system refuses to read."""
    if isinstance(error, PermissionError):
        return UserError(f"{path}: no permission to read it; run `chmod +r {path}` or copy it to a folder of yours")
    return UserError(f"{path}: cannot be read ({error.strerror or error}); check the disk or copy the file")
