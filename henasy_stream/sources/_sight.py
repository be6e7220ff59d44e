"""Whether a camera that works sees anything."""

from __future__ import annotations

from henasy_stream.preprocess import is_plain
from henasy_stream.types import UInt8Array

_DARK, _BRIGHT = 16, 239  # of 255; where limited-range video ends


def blindness(image: UInt8Array) -> str | None:
    """Why a picture (H, W, 3) shows nothing: it is black or white all over.  None for every other one."""
    level = image[:: max(1, len(image) // 24)].mean()
    if _DARK < level < _BRIGHT or not is_plain(image):
        return None
    if level <= _DARK:
        return "the picture is black all over: is the lens covered, or the light off?"
    return "the picture is white all over: does the camera look into a light?"


class Sight:
    """Says why nothing is to be seen once that has lasted `patience_s` seconds; a blink is not worth a word."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since: float | None = None

    def look(self, reason: str | None, now: float) -> str:
        """Takes the `blindness` of the next picture; returns what to tell the user, empty when all is well."""
        if reason is None:
            self._since = None
            return ""
        if self._since is None:
            self._since = now
        return reason if now - self._since > self._patience_s else ""
