"""Whether a camera sends the same picture again and again."""

from __future__ import annotations

from typing import Literal

import numpy as np

from henasy_stream.types import UInt8Array

Change = Literal["new", "repeated", "frozen", "still frozen"]


class Freeze:
    """Compares each picture with the one before.

    Single repetitions are common (a camera that doubles its rate so); the same for `freeze_s` seconds is a freeze.  The
    picture of a freeze is remembered over a reconnect, since a camera that comes back with it has not come back.
    """

    def __init__(self, freeze_s: float) -> None:
        self._freeze_s = freeze_s
        self._previous: UInt8Array | None = None
        self._frozen: UInt8Array | None = None
        self._changed = 0.0

    def restart(self, now: float) -> None:
        """Another connection begins."""
        self._previous, self._changed = None, now

    def look(self, image: UInt8Array, now: float, *, blind: bool) -> Change:
        """What the next picture is.  A `blind` one, black or white all over, is never frozen: a sensor that is clipped
        everywhere has no noise that would tell it from a freeze.
        """
        repeated = _same(image, self._frozen if self._previous is None else self._previous)
        self._previous = image
        if not repeated or blind:
            self._changed, self._frozen = now, None
            return "repeated" if repeated else "new"
        if now - self._changed > self._freeze_s:
            self._frozen = image
            return "frozen"
        return "repeated" if self._frozen is None else "still frozen"


def _same(image: UInt8Array, other: UInt8Array | None) -> bool:
    """Whether two pictures are equal in every byte; a sparse look first, because they nearly never are."""
    if other is None or image.shape != other.shape:
        return False
    return np.array_equal(image[::37], other[::37]) and np.array_equal(image, other)
