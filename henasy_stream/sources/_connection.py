"""What a live source knows about the device that it has opened, and how patient it is with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from henasy_stream.sources._capture import Capture


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When patience ends, in seconds.

    `open_s`: a capture that does not open.  `first_s`, `read_s`: no first, no further picture.
    `stalled_s`: a single call for a further picture, whatever it returns: FFmpeg gives up on a connection by handing
    over what its decoder still held.
    `ended_s`: every call for a picture refused at once, as it is after the end of a connection.
    `freeze_s`: every pixel equal to the last picture's.
    `backoff_s`: pauses before the first, second, … attempt to reconnect; the last repeats.
    """

    open_s: float = 12.0
    first_s: float = 5.0
    read_s: float = 2.0
    stalled_s: float = math.inf
    ended_s: float = math.inf
    freeze_s: float = 3.0
    backoff_s: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class Connection:
    """An open capture and what is known about it.

    `device_time`: CAP_PROP_POS_MSEC may be the driver's monotonic clock.  `gone`: whether the device was unplugged.
    A rate that stays under `expected_fps` becomes a notice that ends in `slow_hint`.
    """

    capture: Capture
    notices: tuple[str, ...] = ()
    device_time: bool = False
    gone: Callable[[], bool] = field(default=lambda: False)
    expected_fps: float | None = None
    slow_hint: str = ""
