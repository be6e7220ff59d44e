"""The one place on disk for what can be made again: downloads, converted weights, embedded texts."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from henasy_stream.errors import UserError


def cache_path() -> Path:
    """`$HENASY_CACHE`, else the user's cache folder of this program."""
    if chosen := os.environ.get("HENASY_CACHE"):
        return Path(chosen).expanduser()
    return Path(platformdirs.user_cache_dir("henasy-stream"))


def cache_folder() -> Path:
    """The same, created if missing.

    Raises:
        UserError: it cannot be created.
    """
    folder = cache_path()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cache folder {folder}: {error.strerror}; set HENASY_CACHE to a folder you may write"
        ) from error
    return folder
