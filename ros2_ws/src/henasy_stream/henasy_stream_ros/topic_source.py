"""An image topic as a source of frames: the executor leaves the newest message, the worker takes and converts it.

Free of ROS: messages are whatever has the fields of sensor_msgs/Image, CompressedImage and CameraInfo.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from henasy_stream.sources.base import EndOfSource, SourceBase, SourceStatus
from henasy_stream.sources.grabber import Slot
from henasy_stream.sources.images import UnreadableImage
from henasy_stream.sources.ros_images import compressed_to_rgb, image_to_rgb
from henasy_stream.types import Clock, Frame, UInt8Array
from henasy_stream_ros.rates import Rate
from henasy_stream_ros.rectify import Rectifier
from henasy_stream_ros.stamps import StampRule


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrival:
    """A message and the node's clock when it came, nanoseconds."""

    message: Any
    received_ns: int


class TopicSource(SourceBase):
    """Frames of an image topic, the newest first.

    `put`, `silent` and `jumped` are called by the executor, `read` by the worker.

    Args:
        topic: goes into frames and messages.
        compressed: messages are sensor_msgs/CompressedImage.
        clock: what stamps count: "unix", or "media" for simulated time.
        rectifier: undistorts by the CameraInfo that it is given; None leaves pictures as they come.
        monotonic: the clock that rates and pauses are measured by.
    """

    live = True

    def __init__(
        self,
        topic: str,
        *,
        compressed: bool = False,
        clock: Clock = "unix",
        rectifier: Rectifier | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(topic)
        self.max_rate = 0.0
        self.refused = 0
        self.rate = Rate(monotonic=monotonic)
        self._convert = _decompressed if compressed else _converted
        self._clock = clock
        self._rectifier = rectifier
        self._monotonic = monotonic
        self._slot: Slot[Arrival] = Slot()
        self._stamps = StampRule()
        self._lock = threading.Lock()
        self._reset: str | None = None
        self._frame_id: str | None = None
        self._due = 0.0
        self._closed = False
        self._last_put = monotonic()

    @property
    def dropped(self) -> int:
        """See `Source.dropped`."""
        return self._slot.dropped

    @property
    def silent_s(self) -> float:
        """Seconds since the last message."""
        return self._monotonic() - self._last_put

    def put(self, message: Any, received_ns: int) -> None:
        """Leaves a message for the worker; never blocks.

        Args:
            message: of the topic.
            received_ns: the node's clock, 0 before a simulated one has begun.
        """
        self._last_put = self._monotonic()
        self.rate.add()
        self._frames_in += 1
        self._slot.put(Arrival(message=message, received_ns=received_ns))

    def silent(self, reason: str) -> None:
        """Says why no message comes, until one does."""
        self._enter("SOURCE_LOST", reason)

    def jumped(self, reason: str) -> None:
        """The stream starts afresh at the next frame, for this reason."""
        with self._lock:
            self._reset = reason
        self._slot.take(0)  # it is of the time before

    def read(self, timeout_s: float = 1.0) -> Frame | None:
        """See `Source.read`.  What is no image is counted in `refused` and told by `status` and `notices`."""
        deadline = self._monotonic() + timeout_s
        while not self._closed:
            left = deadline - self._monotonic()
            if left <= 0:
                return None
            pause = self._due - self._monotonic()
            if self.max_rate > 0 and pause > 0:
                time.sleep(min(pause, left, 0.1))
                continue
            arrival = self._slot.take(min(left, 0.1))
            if arrival is None:
                continue
            frame = self._frame(arrival)
            if frame is not None:
                self._due = self._monotonic() + (1 / self.max_rate if self.max_rate > 0 else 0.0)
                return frame
        raise EndOfSource(self.uri)

    def close(self) -> None:
        """`read` raises `EndOfSource` from now on."""
        self._closed = True

    def _frame(self, arrival: Arrival) -> Frame | None:
        header = arrival.message.header
        stamp = self._stamps.stamp(header.stamp.sec, header.stamp.nanosec, arrival.received_ns)
        if self._stamps.remark:
            self._notice(f"{self.uri}: {self._stamps.remark}")
        try:
            if stamp is None:
                raise UnreadableImage("images have no stamp, and no /clock has come yet (use_sim_time)")
            image = self._convert(arrival.message)
            if self._rectifier is not None:
                image = self._rectifier.apply(image)
        except UnreadableImage as error:
            self.refused += 1
            self._notice(f"{self.uri}: {error}; such images are passed over and counted")
            self._enter("SOURCE_LOST", f"an image that is none: {error}")
            return None
        self._enter("RUNNING", "")
        with self._lock:
            reset, self._reset = self._reset, None
        frame_id = str(header.frame_id)
        if self._frame_id not in (None, frame_id):
            reset = reset or f"frame_id changed from {self._frame_id!r} to {frame_id!r}"
            self._notice(f"{self.uri}: {reset}; does more than one camera publish there?")
        self._frame_id = frame_id
        return Frame(
            image=image,
            stamp_ns=stamp.ns,
            index=self._frames_in - 1,
            source=self.uri,
            frame_id=frame_id,
            clock=self._clock,
            stamp_source=stamp.source,
            reset=reset,
        )

    def _enter(self, state: Literal["RUNNING", "SOURCE_LOST"], reason: str) -> None:
        with self._lock:
            if (state, reason) != (self._status.state, self._status.reason):
                since_ns = self._status.since_ns if state == self._status.state else time.time_ns()
                self._status = SourceStatus(state=state, reason=reason, since_ns=since_ns)


class RosClock(SourceBase):
    """A source whose frames are stamped by the monotonic clock, with stamps of ROS's, and under a frame_id.

    Files and the synthetic world keep their own time, which starts at 0, and are played no faster than it goes.

    Args:
        source: a camera, a stream, a file.
        frame_id: of all frames.
        monotonic: the clock that files are played by.
    """

    def __init__(self, source: Any, frame_id: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(source.uri)
        self.max_rate = 0.0
        self.live = source.live
        self._source = source
        self._frame_id = frame_id
        self._monotonic = monotonic
        self._due = 0.0
        self._waiting: Frame | None = None
        self._last_ns: int | None = None

    @property
    def frames_in(self) -> int:
        """See `Source.frames_in`."""
        return int(self._source.frames_in)

    @property
    def dropped(self) -> int:
        """See `Source.dropped`."""
        return int(self._source.dropped)

    @property
    def status(self) -> SourceStatus:
        """See `Source.status`."""
        status: SourceStatus = self._source.status
        return status

    @property
    def notices(self) -> tuple[str, ...]:
        """See `Source.notices`."""
        return tuple(self._source.notices)

    def read(self, timeout_s: float = 1.0) -> Frame | None:
        """See `Source.read`."""
        deadline = self._monotonic() + timeout_s
        if self.live and not self._wait(deadline):
            return None
        frame = self._waiting or self._source.read(max(0.0, deadline - self._monotonic()))
        if frame is None:
            return None
        if not self.live:
            if self._waiting is None:
                step_ns = frame.stamp_ns - self._last_ns if self._last_ns is not None else 0
                # After a pause of the node's own at most a second is caught up with.
                self._due = max(self._due, self._monotonic() - bool(step_ns)) + max(0, step_ns) / 1e9
            self._waiting, self._last_ns = frame, frame.stamp_ns
            if not self._wait(deadline):
                return None
            self._waiting = None
        if self.max_rate > 0:
            self._due = max(self._due, self._monotonic() + 1 / self.max_rate)
        frame = replace(frame, frame_id=self._frame_id)
        if frame.clock != "monotonic":
            return frame
        # Both clocks anew each time: the wall clock may be set while the node runs.
        return replace(frame, clock="unix", stamp_ns=frame.stamp_ns + time.time_ns() - time.monotonic_ns())

    def _wait(self, deadline: float) -> bool:
        """Sleeps until the next frame is due; False when that is after the deadline."""
        pause = self._due - self._monotonic()
        if pause > 0:
            time.sleep(max(0.0, min(pause, deadline - self._monotonic())))
        return self._due <= self._monotonic()

    def close(self) -> None:
        """See `Source.close`."""
        self._source.close()


def _converted(message: Any) -> UInt8Array:
    return image_to_rgb(
        message.encoding,
        width=message.width,
        height=message.height,
        step=message.step,
        is_bigendian=message.is_bigendian,
        data=message.data,
    )


def _decompressed(message: Any) -> UInt8Array:
    return compressed_to_rgb(message.format, message.data)
