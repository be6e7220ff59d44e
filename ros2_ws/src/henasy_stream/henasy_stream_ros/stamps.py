"""Stamps of headers: which are believed, and what stands in for those that are not.

Free of ROS.  The rule: a stamp counts as it is.  One that is zero or is none (negative, or a billion nanoseconds and
more) is replaced by the node's clock when the image arrived; from the first one on this is so for every image that has
none, and is told once.
"""

from __future__ import annotations

from dataclasses import dataclass

from henasy_stream.types import StampSource

BILLION = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """`ns` since the clock's start, and who made it."""

    ns: int
    source: StampSource


class StampRule:
    """Stamps of one topic.  `remark` is a line for people once a stamp had to be replaced."""

    def __init__(self) -> None:
        self.remark = ""
        self._last_received_ns = 0

    def stamp(self, sec: int, nanosec: int, received_ns: int) -> Stamp | None:
        """The stamp of an image, or None when there is no telling: it has none and the node's clock has not begun.

        Args:
            sec: of the header.
            nanosec: of the header.
            received_ns: the node's clock (`use_sim_time` included) when the image arrived; 0 before the first /clock.
        """
        ns = sec * BILLION + nanosec
        problem = _problem(sec, nanosec)
        if not problem:
            return Stamp(ns=ns, source="device")
        if not self.remark:
            self.remark = (
                f"headers are stamped {problem}: such images get the time of their arrival; "
                "have the camera's driver stamp them"
            )
        if received_ns <= 0:
            return None
        # Two may arrive within one tick of a simulated clock.
        if self._last_received_ns < received_ns or self._last_received_ns - received_ns > BILLION:
            self._last_received_ns = received_ns
        else:
            self._last_received_ns += 1
        return Stamp(ns=self._last_received_ns, source="receive")


def _problem(sec: int, nanosec: int) -> str:
    if sec == 0 and nanosec == 0:
        return "zero"
    if sec < 0:
        return f"before 1970 ({sec} s)"
    if not 0 <= nanosec < BILLION:
        return f"with {nanosec} nanoseconds, which is no time"
    return ""


def split(ns: int) -> tuple[int, int]:
    """Seconds and nanoseconds of builtin_interfaces/Time; the nearest that it can hold."""
    sec, nanosec = divmod(ns, BILLION)
    if sec < -(1 << 31):
        return -(1 << 31), 0
    if sec >= 1 << 31:
        return (1 << 31) - 1, BILLION - 1
    return sec, nanosec
