"""Recordings of ROS 2, read without ROS: `bag:PATH` or `bag:PATH?topic=/camera/image_raw`.

Frames are stamped with the header's own stamp, so that results can be laid beside the bag's other topics.  Where the
header has none (zero), the time at which the recorder got the message takes its place.  Frames that are not newer than
the one before are left out; a jump back by a second or more, as of a bag that was played in a loop while it was
recorded, starts afresh.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from henasy_stream.errors import UserError
from henasy_stream.sources.bag_files import Record
from henasy_stream.sources.bag_messages import Decoder, NoMessage, stamp_of
from henasy_stream.sources.bag_topics import choose_topic, merge_topics, open_all, records, split_bag
from henasy_stream.sources.base import EndOfSource, SourceBase
from henasy_stream.sources.images import UnreadableImage
from henasy_stream.sources.ros_images import compressed_to_rgb, image_to_rgb
from henasy_stream.types import Clock, Frame, UInt8Array

IMAGE, COMPRESSED_IMAGE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_OUR_MASKS = "/henasy/masks/compressed"  # in a recording of our own, no camera
_JUMP_NS = 1_000_000_000
_UNIX_FROM_NS = 1_000_000_000_000_000_000  # September 2001; a smaller stamp is time since some start


@dataclass(frozen=True, kw_only=True)
class _Picture:
    image: UInt8Array
    stamp_ns: int
    clock: Clock
    frame_id: str


class BagSource(SourceBase):
    """The images of one topic: not live, every frame in order.

    A bag that was cut off gives what is readable; images that cannot be decoded are left out, counted in `skipped` and
    noticed.

    Raises:
        UserError: it is not there or no bag, the topic is not in it or has to be chosen, no image can be decoded, or
            the packages of the extra `bag` are not installed.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        path, wanted = split_bag(uri)
        self._decode = Decoder()
        self.skipped = 0
        self._unstamped = self._out_of_order = 0
        self._first_reason = ""
        self._last_ns: int | None = None
        self._reset: str | None = None
        self._size: tuple[int, int] | None = None
        with ExitStack() as stack:
            self._files = open_all(path, stack)
            topics = [topic for topic in merge_topics(self._files) if topic.name != _OUR_MASKS]
            self.topic = choose_topic(uri, topics, wanted, (IMAGE, COMPRESSED_IMAGE))
            self._records: Iterator[Record] = records(self._files, self.topic.name)
            self._next = self._picture()
            if self._next is None:
                many = "" if self.skipped == 1 else f"; none of the {self.skipped} images can be decoded"
                reason = self._first_reason or f"{uri}: no image of {self.topic.name} can be read"
                raise UserError(reason + many)
            self._open = stack.pop_all()
        self._tell_damage()

    def read(self, timeout_s: float = 1.0) -> Frame | None:
        """The next frame.

        Raises:
            EndOfSource: after the last one.
        """
        picture = self._next or self._picture()
        self._next = None
        if picture is None:
            self._report_end()
            self.close()
            raise EndOfSource(self.uri)
        size = (picture.image.shape[1], picture.image.shape[0])
        reset, self._reset = self._reset, None
        if self._size not in (None, size):
            reset = reset or f"resolution changed to {size[0]}x{size[1]}"
        self._size = size
        frame = Frame(
            image=picture.image,
            stamp_ns=picture.stamp_ns,
            index=self._frames_in,
            source=self.uri,
            frame_id=picture.frame_id,
            clock=picture.clock,
            reset=reset,
        )
        self._frames_in += 1
        return frame

    def close(self) -> None:
        """Closes the bag."""
        self._next, self._records = None, iter(())
        self._open.close()

    def _picture(self) -> _Picture | None:
        for record in self._records:
            try:
                picture = _picture_of(self._decode(record, self.topic.type), self.topic.type)
            except (NoMessage, UnreadableImage) as reason:
                self.skipped += 1
                if self.skipped == 1:
                    self._first_reason = f"{self.uri}: {self.topic.name}: {reason}"
                    self._notice(f"{self._first_reason}: left out")
                continue
            if picture.stamp_ns == 0:
                picture = self._dated(picture, record.logged_ns)
            if self._is_new(picture.stamp_ns):
                return picture
        return None

    def _dated(self, picture: _Picture, logged_ns: int) -> _Picture:
        self._unstamped += 1
        if self._unstamped == 1:
            self._notice(
                f"{self.uri}: {self.topic.name} has images without a stamp; the bag's own time takes its place"
            )
        return _Picture(image=picture.image, stamp_ns=logged_ns, clock=_clock(logged_ns), frame_id=picture.frame_id)

    def _is_new(self, stamp_ns: int) -> bool:
        back_ns = 0 if self._last_ns is None else self._last_ns - stamp_ns
        if self._last_ns is None or back_ns < 0:
            self._last_ns = stamp_ns
            return True
        if back_ns < _JUMP_NS:
            self._out_of_order += 1
            return False
        self._last_ns = stamp_ns
        self._reset = f"the bag's time jumps back by {back_ns / 1e9:.1f} s"
        return True

    def _report_end(self) -> None:
        self._tell_damage()
        if self.skipped > 1:
            self._notice(f"{self.uri}: {self.skipped} of {self.skipped + self._frames_in} images left out")
        if self._out_of_order:
            self._notice(f"{self.uri}: {self._out_of_order} images were not newer than the one before and left out")

    def _tell_damage(self) -> None:
        for file in self._files:
            if file.damage:
                self._notice(f"{file.path}: {file.damage}")


def _picture_of(message: Any, type_name: str) -> _Picture:
    """The picture of an image message; a stamp of 0 where the header has none.  Raises UnreadableImage."""
    if type_name == COMPRESSED_IMAGE:
        image = compressed_to_rgb(message.format, message.data)
    else:
        image = image_to_rgb(
            message.encoding,
            width=message.width,
            height=message.height,
            step=message.step,
            is_bigendian=message.is_bigendian,
            data=message.data,
        )
    stamp_ns = stamp_of(message.header)
    return _Picture(
        image=image, stamp_ns=stamp_ns, clock=_clock(stamp_ns), frame_id=message.header.frame_id or "camera"
    )


def _clock(stamp_ns: int) -> Clock:
    return "unix" if stamp_ns >= _UNIX_FROM_NS else "device"
