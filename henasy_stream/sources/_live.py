"""The machinery under cameras and stream URLs: newest frame wins; what hangs, freezes or goes away is told and retried.

One `Grabber` thread opens the capture, takes frames and reconnects with growing pauses.  It cannot be interrupted in a
driver's call, so whoever reads or asks for the status also looks whether it hangs; a hung thread is left behind (it
ends when its call returns) and another takes over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from henasy_stream.errors import UserError
from henasy_stream.sources._capture import Capture, grab_rgb
from henasy_stream.sources._opencv import cv2
from henasy_stream.sources._stamps import RateCheck, StampRule
from henasy_stream.sources.base import EndOfSource, SourceBase, SourceStatus
from henasy_stream.sources.grabber import Grabber, Slot
from henasy_stream.types import Frame, UInt8Array


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When patience ends, in seconds.

    `open_s`: a capture that does not open.  `first_s`, `read_s`: no first, no further picture.
    `freeze_s`: every pixel equal to the last picture's.
    `backoff_s`: pauses before the first, second, … attempt to reconnect; the last repeats.
    """

    open_s: float = 12.0
    first_s: float = 5.0
    read_s: float = 2.0
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


class LiveSource(SourceBase):
    """Frames of a device that may fail and come back.

    Args:
        uri: what goes into frames and messages.
        connect: opens the device; called anew for every attempt, from the grabber's thread.
        what: "camera" or "stream", for messages.
        limits: when patience ends.

    Raises:
        UserError: the first attempt to connect fails.
    """

    live = True
    max_hung_threads = 3

    def __init__(
        self, uri: str, connect: Callable[[], Connection], *, what: Literal["camera", "stream"], limits: Limits
    ) -> None:
        super().__init__(uri)
        self._connect = connect
        self._what = what
        self._limits = limits
        self._lock = threading.Lock()
        self._slot: Slot[Frame] = Slot(carry=_keep_reset)
        self._stamps = StampRule()
        self._frozen: UInt8Array | None = None
        self._size: tuple[int, ...] | None = None
        self._attempts = 0
        self._slow_told = False
        self._reset: str | None = None
        self._failure: UserError | None = None
        self._opened = threading.Event()
        self._closed = False
        self._hung: list[Grabber] = []
        self._grabber = Grabber(self._work, f"henasy-{what}")
        if not self._opened.wait(limits.open_s):
            self._failure = UserError(
                f"{uri}: the {what} did not open within {limits.open_s:g} s; is it in use or away?"
            )
        if self._failure is not None:
            self.close()
            raise self._failure

    @property
    def dropped(self) -> int:
        """See `Source.dropped`."""
        return self._slot.dropped

    @property
    def status(self) -> SourceStatus:
        """See `Source.status`; asking also finds out whether the driver hangs."""
        self._watch()
        return self._status

    def read(self, timeout_s: float = 1.0) -> Frame | None:
        """The newest frame that was not read yet, or None after `timeout_s`.

        Raises:
            EndOfSource: the source was closed.
        """
        deadline = time.monotonic() + timeout_s
        while not self._closed:
            left = deadline - time.monotonic()
            frame = self._slot.take(min(left, 0.1))
            if frame is not None or left <= 0:
                return frame
            self._watch()
        raise EndOfSource(self.uri)

    def close(self) -> None:
        """Stops the grabber; returns within a second even if the driver hangs."""
        self._closed = True
        self._grabber.stop()

    def _watch(self) -> None:
        """Leaves a hung grabber behind and starts another, but never more than a few."""
        with self._lock:
            if self._closed or not self._grabber.hangs:
                return
            if self._grabber.running:
                self._set_lost(f"the {self._what} hangs: no answer for {self._grabber.allowance_s:g} s")
            else:
                self._set_lost(f"the {self._what}'s thread died")
            self._hung = [g for g in self._hung if g.running]
            if len(self._hung) >= self.max_hung_threads:
                return
            self._grabber.abandon()
            self._hung.append(self._grabber)
            self._grabber = Grabber(self._work, f"henasy-{self._what}")

    def _work(self, grabber: Grabber) -> None:
        while not grabber.stopping:
            if self._attempts:
                grabber.wait(self._limits.backoff_s[min(self._attempts, len(self._limits.backoff_s)) - 1])
                if grabber.stopping:
                    return
            grabber.alive(self._limits.open_s)
            try:
                connection = self._connect()
            except (UserError, cv2.error) as error:
                failure = error if isinstance(error, UserError) else UserError(f"{self.uri}: {error}".splitlines()[0])
                if not self._opened.is_set():
                    self._failure = failure
                    self._opened.set()
                    return
                self._lose(grabber, str(failure))
                continue
            try:
                if grabber.stopping:
                    return
                for notice in connection.notices:
                    self._notice(notice)
                self._opened.set()
                self._lose(grabber, self._stream(grabber, connection))
            finally:
                connection.capture.release()

    def _stream(self, grabber: Grabber, connection: Connection) -> str:
        """Delivers frames until the connection fails; returns why."""
        capture, limits = connection.capture, self._limits
        self._stamps.source = "device" if connection.device_time else "receive"
        rate = RateCheck(connection.expected_fps)
        last_picture = last_change = time.monotonic()
        patience = limits.first_s
        previous: UInt8Array | None = None
        while True:
            grabber.alive(patience + 1.0)  # a driver that times out by itself need not be left behind
            image = grab_rgb(capture)
            now, now_ns = time.monotonic(), time.monotonic_ns()
            if grabber.stopping:
                return "closed"
            if image is None:
                if connection.gone():
                    return f"the {self._what} is unplugged"
                if now - last_picture > patience:
                    return f"no picture from the {self._what} for {patience:g} s"
                grabber.wait(0.01)
                continue
            last_picture, patience = now, limits.read_s
            repeated = _same(image, previous if previous is not None else self._frozen)
            previous = image
            if not repeated:
                last_change, self._frozen = now, None
            elif now - last_change > limits.freeze_s:
                self._frozen = image
                return f"the picture is frozen: every pixel the same for {limits.freeze_s:g} s (is a shutter closed?)"
            elif self._frozen is not None:
                continue  # still the picture that it froze with before the reconnect
            device_ms = capture.get(cv2.CAP_PROP_POS_MSEC) if connection.device_time else None
            self._deliver(grabber, image, self._stamps.stamp(now_ns, device_ms))
            measured = None if repeated else rate.add(now)
            if measured is not None and not self._slow_told:
                self._slow_told = True
                due = f"{measured:.1f} fps arrive, {connection.expected_fps:g} are due"
                self._notice(f"{self.uri}: {due}; {connection.slow_hint}")

    def _deliver(self, grabber: Grabber, image: UInt8Array, stamp_ns: int) -> None:
        with self._lock:
            if grabber.stopping:
                return
            reset, self._reset = self._reset, None
            if self._size not in (None, image.shape):
                reset = reset or f"resolution changed to {image.shape[1]}x{image.shape[0]}"
            self._size = image.shape
            self._attempts = 0
            if self._status.state != "RUNNING":
                self._status = SourceStatus(state="RUNNING", reason="", since_ns=time.time_ns())
            self._slot.put(
                Frame(
                    image=image,
                    stamp_ns=stamp_ns,
                    index=self._frames_in,
                    source=self.uri,
                    clock="monotonic",
                    stamp_source=self._stamps.source,
                    reset=reset,
                )
            )
            self._frames_in += 1

    def _lose(self, grabber: Grabber, reason: str) -> None:
        with self._lock:
            if not grabber.stopping:
                self._set_lost(reason)

    def _set_lost(self, reason: str) -> None:
        since_ns = self._status.since_ns if self._status.state == "SOURCE_LOST" else time.time_ns()
        self._status = SourceStatus(state="SOURCE_LOST", reason=reason, since_ns=since_ns)
        self._reset = f"{self._what} reconnected"
        self._attempts += 1


def _same(image: UInt8Array, other: UInt8Array | None) -> bool:
    """Whether two pictures are equal in every byte; a sparse look first, because they nearly never are."""
    if other is None or image.shape != other.shape:
        return False
    return np.array_equal(image[::37], other[::37]) and np.array_equal(image, other)


def _keep_reset(old: Frame, new: Frame) -> Frame:
    return replace(new, reset=old.reset) if old.reset and not new.reset else new
