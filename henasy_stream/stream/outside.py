"""Entities from outside: boxes of a user's own detector wait, in the order of their stamps, for a hop.

A hop reads the newest boxes that belong to a sample of its window: those nearest to the sample, at most half a sampling
period away.  Boxes may so come in any order and as late as a window is long; those of an earlier frame than the ones
that were read last are passed over, as a newer answer is there already.

Stamps are in nanoseconds of the source's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from henasy_stream.types import EntityBoxes

MOST_WAITING = 256
"""Sets of boxes that are kept at most; the oldest goes first."""
AHEAD_NS = 1_000_000_000
"""Boxes stamped further ahead of the newest frame are stamped by another clock than the frames."""

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class OutsideBook:
    """What a stream remembers of the boxes that came in.

    waiting: in the order of their stamps, none twice, all newer than `read_ns`.  read_ns: stamp of those that were read
    last since the last reset.  names: what the columns of the tracks' evidence mean, "" for a free one.  received,
    used, late, ahead: sets of boxes since the start, see `receive`; beyond: single boxes outside the frame.
    """

    waiting: tuple[EntityBoxes, ...] = ()
    read_ns: int | None = None
    names: tuple[str, ...] = ()
    received: int = 0
    used: int = 0
    late: int = 0
    ahead: int = 0
    beyond: int = 0

    def receive(self, sets: Sequence[EntityBoxes], oldest_ns: int, frame_ns: int, *, first: bool) -> OutsideBook:
        """Puts new sets in their places; of two with one stamp the later one counts.

        Args:
            sets: what came in since the last frame, in any order.
            oldest_ns: what is older is late: no hop will read it any more.
            frame_ns: stamp of the newest frame.
            first: nothing was seen before, so nothing can be late.
        """
        if not sets:
            return self
        late = ahead = 0
        waiting = {item.stamp_ns: item for item in self.waiting}
        for item in sets:
            if item.stamp_ns < oldest_ns:
                late += not first
            elif item.stamp_ns > frame_ns + AHEAD_NS:
                ahead += 1
            elif self.read_ns is None or item.stamp_ns > self.read_ns:
                waiting[item.stamp_ns] = item
        return replace(
            self,
            waiting=tuple(waiting[stamp] for stamp in sorted(waiting))[-MOST_WAITING:],
            received=self.received + len(sets),
            late=self.late + late,
            ahead=self.ahead + ahead,
        )

    def choose(self, stamps: Int64Array, slack_ns: int) -> tuple[OutsideBook, EntityBoxes | None]:
        """What a hop over samples (T,) reads, or None when nothing newer than the last hop's has come."""
        for sample in sorted({int(stamp) for stamp in stamps}, reverse=True):
            near = [item for item in self.waiting if abs(item.stamp_ns - sample) <= slack_ns]
            if near:
                chosen = min(near, key=lambda item: abs(item.stamp_ns - sample))
                newer = tuple(item for item in self.waiting if item.stamp_ns > chosen.stamp_ns)
                return replace(self, waiting=newer, read_ns=chosen.stamp_ns, used=self.used + 1), chosen
        return self, None

    def restart(self, frame_ns: int, slack_ns: int) -> OutsideBook:
        """After a reset at a frame: boxes of frames before it are forgotten, counters go on."""
        waiting = tuple(item for item in self.waiting if frame_ns - slack_ns <= item.stamp_ns <= frame_ns + AHEAD_NS)
        return replace(self, waiting=waiting, read_ns=None)

    def remark(self, bound_s: float) -> str | None:
        """A line for people about boxes that could not be used, or None.  `bound_s`: how late boxes may come."""
        parts = []
        if self.late:
            parts.append(f"{self.late} sets of boxes came more than {bound_s:.1f} s after their frame")
        if self.ahead:
            parts.append(f"{self.ahead} sets of boxes are stamped ahead of the frames")
        if parts:
            parts[-1] += "; they are not used: give boxes the stamp_ns of the frame they were found in"
        if self.beyond:
            parts.append(f"{self.beyond} boxes lie outside the frame; give them in its own pixels")
        return "; ".join(parts) or None


def take_columns(names: tuple[str, ...], wanted: Sequence[str], busy: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    """`names` with a column for each of `wanted`; a column that is free or not `busy` is taken for a new one.

    While all are busy a name gets no column.
    """
    columns = list(names)
    for name in dict.fromkeys(wanted):
        if name not in columns:
            spare = [i for i, old in enumerate(columns) if not busy[i] and old not in wanted]
            if spare:
                columns[min(spare, key=lambda i: (columns[i] != "", i))] = name
    return tuple(columns)
