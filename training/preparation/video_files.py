"""The video files of a folder."""

from __future__ import annotations

from pathlib import Path

from henasy_stream.errors import UserError

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".3gp", ".gif"}
)
"""What a camera may have written, in lower case."""


def find_videos(folder: Path) -> dict[str, Path]:
    """Video files below a folder by id, which is the file's name without its ending.

    Raises:
        UserError: no such folder, no video in it, or two files with one id.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the folder that holds the videos")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in VIDEO_SUFFIXES or not path.is_file():
            continue
        if path.stem in found:
            raise UserError(f"{path} and {found[path.stem]} have the same id {path.stem!r}; rename one of them")
        found[path.stem] = path
    if not found:
        raise UserError(f"{folder}: no video in it (looked for {', '.join(sorted(VIDEO_SUFFIXES))})")
    return found
