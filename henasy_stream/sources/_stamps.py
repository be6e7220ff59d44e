"""When pictures were taken: presentation times of files, capture times of cameras, and the rate that they make."""

from __future__ import annotations

import math

from henasy_stream.types import StampSource

DEFAULT_FPS = 25.0


def plausible_fps(fps: float) -> float | None:
    """`fps` if a camera could have recorded it, else None: headers and raw streams also say 0, 1000 or 90000."""
    return fps if math.isfinite(fps) and 0.1 <= fps <= 480 else None


class MediaClock:
    """Turns presentation times into strictly increasing nanoseconds that start at 0.

    A variable frame rate is kept.  Where the container has no presentation time, the nominal rate goes on.
    """

    def __init__(self, fps: float | None) -> None:
        self.fps = fps or DEFAULT_FPS
        self.missing = 0
        self._period = round(1e9 / self.fps)
        self._offset: int | None = None
        self._raw = 0
        self._stamp = -1

    def stamp(self, raw_ms: float) -> tuple[int, str | None]:
        """The next frame's stamp, and why time starts afresh here (None when it simply goes on).

        Args:
            raw_ms: OpenCV's CAP_PROP_POS_MSEC, which is 0 or absurd where the container says nothing.
        """
        first = self._stamp < 0
        known = math.isfinite(raw_ms) and abs(raw_ms) < 1e12 and (first or raw_ms != 0)
        if first:
            self._stamp = 0
            if known:
                self._raw = round(raw_ms * 1e6)
                self._offset = -self._raw
            return 0, None
        if not known:
            self.missing += 1
            self._stamp += self._period
            return self._stamp, None
        raw, last_raw = round(raw_ms * 1e6), self._raw
        self._raw = raw
        if self._offset is None:
            self._offset = self._stamp + self._period - raw
        if raw + self._offset > self._stamp:
            self._stamp = raw + self._offset
            return self._stamp, None
        if last_raw - raw > max(5 * self._period, 200_000_000):
            self._stamp += self._period
            self._offset = self._stamp - raw
            return self._stamp, "the file's clock jumps back"
        self._stamp += max(1, self._period // 2)  # a repeated time: half a period leaves room to fall back into step
        return self._stamp, None


class StampRule:
    """Acquisition stamps on the monotonic clock, strictly increasing.

    The driver's time is taken while it is plausible: not in the future, not before the last one's, and less than a
    second old.  It may be older by as long as no picture was taken, since pictures wait in the driver's buffers while
    the process is stopped.  From the first implausible one on, the time of receipt; `doubt` says why.
    """

    def __init__(self) -> None:
        self.source: StampSource = "device"
        self.doubt = ""
        self._last = -1
        self._last_device = -1
        self._last_received: int | None = None

    def restart(self, source: StampSource) -> None:
        """Another connection begins, whose stamps are of `source` as long as they are plausible."""
        self.source, self.doubt = source, ""
        self._last_device, self._last_received = -1, None

    def stamp(self, received_ns: int, device_ms: float | None) -> int:
        """The stamp of a picture that was received at `received_ns` (`time.monotonic_ns`)."""
        stamp = received_ns
        if self.source == "device":
            known = device_ms is not None and math.isfinite(device_ms)
            device_ns = round((device_ms or 0) * 1e6) if known else 0
            self.doubt = self._doubt(received_ns, device_ns)
            if self.doubt:
                self.source = "receive"
            else:
                stamp = self._last_device = device_ns
        self._last_received = received_ns
        self._last = max(stamp, self._last + 1)
        return self._last

    def _doubt(self, received_ns: int, device_ns: int) -> str:
        away_ns = 0 if self._last_received is None else received_ns - self._last_received
        if device_ns <= 0:
            return "are zero"
        if device_ns > received_ns:
            return "lie in the future"
        if device_ns < self._last_device:
            return "go back"
        if received_ns - device_ns >= 1_000_000_000 + away_ns:
            return "are more than a second old"
        return ""


class RateCheck:
    """Says once when the rate over the first seconds stays well under the expected one."""

    def __init__(self, expected_fps: float | None, window_s: float = 4.0) -> None:
        self._expected = expected_fps
        self._window = window_s
        self._start: float | None = None
        self._frames = 0

    def add(self, now: float) -> float | None:
        """The rate if it is too low, the first time that this is known."""
        if self._expected is None:
            return None
        if self._start is None:
            self._start = now
            return None
        self._frames += 1
        if now - self._start < self._window:
            return None
        rate, expected = self._frames / (now - self._start), self._expected
        self._expected = None
        return rate if rate < 0.8 * expected else None
