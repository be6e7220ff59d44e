"""Which frames become samples, and when a window of them is due.

The weights want `T` samples at a fixed period p.  The sampler lays a grid of points in time, p apart and anchored at
the first frame after a start or reset, and picks for every grid point the frame nearest to it:

- a frame is taken as soon as its stamp is within half a typical frame interval of the next grid point (at most p / 2);
  the grid then moves on by p, not to the frame, so that nothing drifts at 10, 25, 30 or 60 frames a second or at a
  variable rate;
- grid points that pass without a frame (a slow source, dropped frames, a model that was busy) are filled with the
  nearer of their two neighbours, as sampling a slow video does;
- after a start or reset the first sample is repeated until T have come, so that a video shorter than a window, even a
  single picture, still gives an answer; `SampleRing.coverage` says how much of the window is real.

Stamps are integers in nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from henasy_stream.errors import UserError
from henasy_stream.types import UInt8Array

Int64Array = npt.NDArray[np.int64]

_INTERVAL_RATE = 0.1
_INTERVAL_CAP = 2.0  # one long pause must not widen the typical interval


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SampleRing:
    """The last T samples and the place on the grid.

    images: (T, S, S, 3) and stamps: (T,) in ring order, the oldest at `head`.  filled: grid points covered since the
    start, at most T; 0 when nothing has come.  last_ns, interval_ns: newest frame, typical time between frames.
    since_window: frames taken since the last window ran.
    """

    images: UInt8Array
    stamps: Int64Array
    head: int = 0
    filled: int = 0
    origin_ns: int = 0
    next_tick: int = 0
    last_ns: int = 0
    interval_ns: float = 0.0
    since_window: int = 0

    @staticmethod
    def empty(num_frames: int, size: int) -> SampleRing:
        """Room for `num_frames` samples of `size` x `size` pixels."""
        return SampleRing(images=np.zeros((num_frames, size, size, 3), np.uint8), stamps=np.zeros(num_frames, np.int64))

    @property
    def coverage(self) -> float:
        """How much of the window is samples and not padding, in 0..1."""
        return self.filled / len(self.stamps)

    def window(self) -> tuple[UInt8Array, Int64Array]:
        """The clip (T, S, S, 3) and its stamps (T,), oldest first, as copies."""
        order = (np.arange(len(self.stamps)) + self.head) % len(self.stamps)
        return self.images[order], self.stamps[order]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampler:
    """Fixed-period sampling by stamps.  A pause above `gap_ns` is a discontinuity."""

    period_ns: int
    gap_ns: int

    @staticmethod
    def plan(num_frames: int, span_s: float, gap_s: float) -> Sampler:
        """`span_s` is the time from the first to the last of `num_frames` samples; UserError unless it is positive."""
        if span_s <= 0:
            raise UserError(f"span_s is {span_s}: give the seconds from a window's first to its last frame")
        return Sampler(period_ns=max(1, round(span_s * 1e9 / max(1, num_frames - 1))), gap_ns=round(gap_s * 1e9))

    def discontinuity(self, ring: SampleRing, stamp_ns: int, busy_s: float = 0.0) -> str | None:
        """Why a frame of this stamp cannot continue the ring, or None.

        `busy_s`: how long nobody took frames since the last one; a pause is only what is longer.
        """
        if not ring.filled:
            return None
        pause = stamp_ns - ring.last_ns
        if pause < 0:
            return f"stamps went back by {-pause / 1e9:.3f} s"
        if pause > self.gap_ns + busy_s * 1e9:
            return f"gap of {pause / 1e9:.3f} s"
        return None

    def observe(self, ring: SampleRing, stamp_ns: int) -> tuple[SampleRing, bool]:
        """Notes a frame's stamp; True when the frame is to be pushed.  A second frame of one stamp never is."""
        if not ring.filled:
            return replace(ring, origin_ns=stamp_ns, next_tick=0, last_ns=stamp_ns, interval_ns=0.0), True
        pause = stamp_ns - ring.last_ns
        if pause <= 0:
            return ring, False
        typical = ring.interval_ns or float(pause)
        typical += _INTERVAL_RATE * (min(float(pause), _INTERVAL_CAP * typical) - typical)
        ring = replace(ring, last_ns=stamp_ns, interval_ns=typical)
        return ring, self._tick(ring, stamp_ns) >= ring.next_tick

    def push(self, ring: SampleRing, image: UInt8Array, stamp_ns: int) -> SampleRing:
        """Adds the frame that `observe` just accepted, as the model sees it (S, S, 3); writes into the ring."""
        length = len(ring.stamps)
        if not ring.filled:
            ring.images[:], ring.stamps[:] = image, stamp_ns
            return replace(ring, head=0, filled=1, next_tick=1, since_window=1)
        tick = self._tick(ring, stamp_ns)
        newest = (ring.head - 1) % length
        middle = (int(ring.stamps[newest]) + stamp_ns) / 2
        head = ring.head
        for missed in range(max(ring.next_tick, tick - length + 1), tick + 1):
            if missed < tick and ring.origin_ns + missed * self.period_ns < middle:
                ring.images[head], ring.stamps[head] = ring.images[newest], ring.stamps[newest]
            else:
                ring.images[head], ring.stamps[head] = image, stamp_ns
            newest, head = head, (head + 1) % length
        return replace(
            ring,
            head=head,
            filled=min(length, ring.filled + tick + 1 - ring.next_tick),
            next_tick=tick + 1,
            since_window=ring.since_window + 1,
        )

    def _tick(self, ring: SampleRing, stamp_ns: int) -> int:
        """The last grid point that a frame of this stamp serves."""
        slack = round(min(ring.interval_ns, float(self.period_ns)) / 2)
        return (stamp_ns + slack - ring.origin_ns) // self.period_ns


def choose_hop(wanted: int, *, live: bool, step_s: float, period_ns: int, num_frames: int) -> int:
    """New samples to wait for between two windows.

    `wanted` >= 1 is taken as it is, at most T.  0 adapts: 1 for a file, where nothing is lost by being slow; for a live
    source the least k whose k * p is not below the measured `step_s`.  A result of T means that neighbouring windows
    share no frame: the model cannot keep pace with T - 1.
    """
    if wanted > 0:
        return min(wanted, num_frames)
    if not live:
        return 1
    return int(np.clip(np.ceil(step_s * 1e9 / period_ns), 1, num_frames))
