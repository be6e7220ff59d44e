"""The machinery under cameras and stream URLs: newest frame wins; what hangs, freezes or goes away is told and retried.

One `Grabber` thread opens the capture, takes frames and reconnects with growing pauses.  It cannot be interrupted in a
driver's call, so whoever reads or asks for the status also looks whether it hangs; a hung thread is left behind (it
ends when its call returns) and another takes over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from henasy_stream.errors import UserError
from henasy_stream.sources._backlog import Backlog
from henasy_stream.sources._capture import grab, retrieve_rgb
from henasy_stream.sources._connection import Connection, Limits
from henasy_stream.sources._freeze import Freeze
from henasy_stream.sources._opencv import cv2
from henasy_stream.sources._sight import Sight, blindness
from henasy_stream.sources._stamps import RateCheck, StampRule
from henasy_stream.sources.base import EndOfSource, SourceBase, SourceStatus
from henasy_stream.sources.grabber import Grabber, Slot
from henasy_stream.types import Frame, UInt8Array

_PAUSE_S = 0.01
_BLINK_S = 1.0
"""So long may nobody have looked after the grabber before its silence is excused."""


class LiveSource(SourceBase):
    """Frames of a device that may fail and come back.

    Args:
        uri: what goes into frames and messages.
        connect: opens the device; called anew for every attempt, from the grabber's thread.
        what: "camera" or "stream", for messages.
        limits: when patience ends.

    Attributes:
        on_frame: called with every frame, from the grabber's thread, also with those that nobody reads; must be quick.

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
        self.on_frame: Callable[[Frame], None] | None = None
        self._slot: Slot[Frame] = Slot(carry=_keep_reset)
        self._stamps = StampRule()
        self._freeze = Freeze(limits.freeze_s)
        self._size: tuple[int, ...] | None = None
        self._attempts = 0
        self._late = 0
        self._watched = time.monotonic()
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
        return self._slot.dropped + self._late

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
            now = time.monotonic()
            unwatched, self._watched = now - self._watched, now
            if unwatched > _BLINK_S:  # the whole process stood still, and the grabber with it
                self._grabber.excuse(unwatched - _BLINK_S)
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
        self._stamps.restart("device" if connection.device_time else "receive")
        rate, backlog, sight = RateCheck(connection.expected_fps), Backlog(), Sight(limits.freeze_s)
        opened = last_picture = last_taken = time.monotonic()
        refused_s = 0.0
        patience = limits.first_s
        self._freeze.restart(last_picture)
        while True:
            grabber.alive(patience + 1.0)  # a driver that times out by itself need not be left behind
            asked, grabbed = time.monotonic(), grab(capture)
            now, now_ns = time.monotonic(), time.monotonic_ns()
            if grabber.stopping:
                return "closed"
            if now - asked > limits.stalled_s and last_picture > opened:
                return f"no picture from the {self._what} for {now - asked:.0f} s"
            if grabbed:
                refused_s = 0.0
                late = backlog.is_late(now - last_taken, now - asked)
                last_taken = now
                if late and self._stamps.source == "receive":
                    last_picture = now
                    self._pass_over(grabber)
                    continue
            image = retrieve_rgb(capture) if grabbed else None
            if image is None:
                if connection.gone():
                    return f"the {self._what} is unplugged"
                if now - last_picture > patience:
                    return f"no picture from the {self._what} for {patience:g} s"
                if refused_s > limits.ended_s:
                    return f"the {self._what} ended"
                grabber.wait(_PAUSE_S)
                refused_s += _PAUSE_S
                continue
            last_picture, patience = now, limits.read_s
            blind = blindness(image)
            change = self._freeze.look(image, now, blind=blind is not None)
            if change == "frozen":
                return f"the picture is frozen: every pixel the same for {limits.freeze_s:g} s (is a shutter closed?)"
            if change == "still frozen":
                continue
            device_ms = capture.get(cv2.CAP_PROP_POS_MSEC) if connection.device_time else None
            stamp_ns = self._stamps.stamp(now_ns, device_ms)
            if self._stamps.doubt:
                self._notice(
                    f"{self.uri}: the driver's stamps {self._stamps.doubt}; frames are stamped on arrival instead"
                )
            self._deliver(grabber, image, stamp_ns, seen=sight.look(blind, now))
            measured = rate.add(now) if change == "new" else None
            if measured is not None and not self._slow_told:
                self._slow_told = True
                due = f"{measured:.1f} fps arrive, {connection.expected_fps:g} are due"
                self._notice(f"{self.uri}: {due}; {connection.slow_hint}")

    def _pass_over(self, grabber: Grabber) -> None:
        """Counts a picture that is too old to be delivered."""
        with self._lock:
            if not grabber.stopping:
                self._frames_in += 1
                self._late += 1

    def _deliver(self, grabber: Grabber, image: UInt8Array, stamp_ns: int, *, seen: str) -> None:
        """Leaves a picture for the reader; `seen` says why nothing is to be seen on it."""
        with self._lock:
            if grabber.stopping:
                return
            self._attempts = 0
            if (self._status.state, self._status.reason) != ("RUNNING", seen):
                was_running = self._status.state == "RUNNING"
                since_ns = self._status.since_ns if was_running else time.time_ns()
                self._status = SourceStatus(state="RUNNING", reason=seen, since_ns=since_ns)
                if seen:
                    self._notice(f"{self.uri}: {seen}")
            reset, self._reset = self._reset, None
            if self._size not in (None, image.shape):
                reset = reset or f"resolution changed to {image.shape[1]}x{image.shape[0]}"
            self._size = image.shape
            frame = Frame(
                image=image,
                stamp_ns=stamp_ns,
                index=self._frames_in,
                source=self.uri,
                clock="monotonic",
                stamp_source=self._stamps.source,
                reset=reset,
            )
            self._slot.put(frame)
            self._frames_in += 1
        if self.on_frame is not None:
            self.on_frame(frame)

    def _lose(self, grabber: Grabber, reason: str) -> None:
        with self._lock:
            if not grabber.stopping:
                self._set_lost(reason)

    def _set_lost(self, reason: str) -> None:
        since_ns = self._status.since_ns if self._status.state == "SOURCE_LOST" else time.time_ns()
        self._status = SourceStatus(state="SOURCE_LOST", reason=reason, since_ns=since_ns)
        self._reset = f"{self._what} reconnected"
        self._attempts += 1


def _keep_reset(old: Frame, new: Frame) -> Frame:
    return replace(new, reset=old.reset) if old.reset and not new.reset else new
