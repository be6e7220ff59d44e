"""One MCAP stream of messages and pictures, as a recording and the live page's download hold it.

Channels: every message under its own topic, as the JSON line that a JSONL record has; `/henasy/annotations` for
Foxglove's image panel; `/henasy/image/compressed` and `/henasy/masks/compressed` with pictures.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from henasy_stream.errors import UserError
from henasy_stream.sinks import convert, foxglove, schema, wire
from henasy_stream.sinks.messages import PREFIX, Caption, FrameMessage, Message, Tracks
from henasy_stream.types import Clock, Frame, Perception, StampSource

if TYPE_CHECKING:
    from mcap.writer import Writer

IMAGE_TOPIC = "/henasy/image/compressed"
MASKS_TOPIC = "/henasy/masks/compressed"
ANNOTATIONS_TOPIC = "/henasy/annotations"
CHUNK_BYTES = 1 << 20

_LATEST_NS = ((1 << 31) - 1) * 1_000_000_000
_LIVE: tuple[StampSource, ...] = ("device", "receive")


class Output(Protocol):
    """Where the bytes go; `write` takes all of them or raises."""

    def write(self, data: Any, /) -> Any:
        """Takes the bytes."""
        ...

    def tell(self) -> int:
        """Bytes taken so far."""
        ...

    def flush(self) -> Any:
        """Hands on what it holds."""
        ...


class Timeline:
    """Puts everything on the clock since 1970, which is what players of recordings show.

    Stamps of that clock stay as they are.  Those of another clock keep their distances: the first one is dated to the
    moment it was told.  What is not about a frame is dated to when it was told where the source is live, and to the
    frame before it where a recording is read at its own speed.
    """

    def __init__(self) -> None:
        self._offsets: dict[Clock, int] = {"unix": 0}
        self._latest: int | None = None

    def of_frame(self, stamp_ns: int, clock: Clock, stamp_source: StampSource, told_ns: int) -> int:
        """Of a frame, nanoseconds since 1970; `told_ns` is when it came, on that clock."""
        offset = self._offsets.setdefault(clock, told_ns - stamp_ns)
        at = _within(stamp_ns + offset)
        self._latest = None if stamp_source in _LIVE else at
        return at

    def of_node(self, told_ns: int) -> int:
        """Of what is not about a frame."""
        return _within(told_ns) if self._latest is None else self._latest


class McapStream:
    """Writes MCAP in chunks, zstd-compressed; what stands before the last `flush` can be read whatever happens later.

    Args:
        out: where the bytes go.

    Raises:
        UserError: the package is not installed.
    """

    def __init__(self, out: Output) -> None:
        self._writer = _writer(out)
        self._timeline = Timeline()
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._height = 0
        self._writer.start(profile="", library="henasy-stream")

    def messages(self, batch: Sequence[Message]) -> None:
        """Writes the messages of one step or beat, and annotations for those about what is seen."""
        tracks: Tracks | None = None
        caption: Caption | None = None
        at = 0
        for message in batch:
            if isinstance(message, FrameMessage):
                at = self._timeline.of_frame(
                    message.stamp_ns, message.clock, message.stamp_source, message.published_ns
                )
            else:
                at = self._timeline.of_node(message.published_ns)
            self._json(message.topic, at, message.published_ns, wire.to_json_line(message), message.seq)
            if isinstance(message, Tracks):
                tracks, self._height = message, message.height
            elif isinstance(message, Caption) and not message.final:
                caption = message
        if tracks is not None or caption is not None:
            drawn = foxglove.image_annotations(tracks, caption, at, self._height)
            self._json(ANNOTATIONS_TOPIC, at, at, json.dumps(drawn, separators=(",", ":")).encode(), 0)

    def frame(self, frame: Frame, jpeg: bytes, told_ns: int | None = None) -> None:
        """Writes the picture of a frame, a JPEG file; `told_ns`: when it came, now by default."""
        self._height = frame.height
        self._picture(IMAGE_TOPIC, frame, "jpeg", jpeg, told_ns)

    def masks(self, perception: Perception, told_ns: int | None = None) -> None:
        """Writes the mask indices on the model's grid, a PNG file; nothing if the perception has no masks."""
        if perception.masks is not None:
            self._picture(MASKS_TOPIC, perception.frame, "png", convert.png(perception.masks.index), told_ns)

    def flush(self) -> None:
        """Ends the chunk, so that what has been written can be read even if nothing follows."""
        self._writer.flush()  # type: ignore[no-untyped-call]

    def finish(self) -> None:
        """Writes the index; nothing can be written afterwards."""
        self._writer.finish()  # type: ignore[no-untyped-call]

    def _picture(self, topic: str, frame: Frame, format: str, data: bytes, told_ns: int | None) -> None:
        told_ns = time.time_ns() if told_ns is None else told_ns
        at = self._timeline.of_frame(frame.stamp_ns, frame.clock, frame.stamp_source, told_ns)
        body = foxglove.compressed_image(at, frame.frame_id, format, data)
        self._writer.add_message(self._channel(topic, "cdr"), at, body, _within(told_ns), frame.index & 0xFFFFFFFF)

    def _json(self, topic: str, at: int, published_ns: int, body: bytes, seq: int) -> None:
        channel = self._channel(topic, "json")
        self._writer.add_message(channel, at, body.rstrip(b"\n"), _within(published_ns), seq & 0xFFFFFFFF)

    def _channel(self, topic: str, encoding: str) -> int:
        if topic not in self._channels:
            name, form, text = _schema(topic)
            if name not in self._schemas:
                self._schemas[name] = self._writer.register_schema(name, form, text)
            self._channels[topic] = self._writer.register_channel(topic, encoding, self._schemas[name])
        return self._channels[topic]


def need_mcap() -> None:
    """Raises UserError unless the package is there."""
    try:
        import mcap.writer  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"MCAP is written by a package that is not installed ({error}): pip install 'henasy-stream[bag]'"
        ) from error


def _writer(out: Output) -> Writer:
    need_mcap()
    from mcap.writer import CompressionType, Writer

    return Writer(out, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD)  # type: ignore[arg-type]


@functools.cache
def _schema(topic: str) -> tuple[str, str, bytes]:
    """Name, encoding and text of the schema of a channel."""
    if topic in (IMAGE_TOPIC, MASKS_TOPIC):
        return foxglove.COMPRESSED_IMAGE, "ros2msg", foxglove.COMPRESSED_IMAGE_DEFINITION.encode()
    if topic == ANNOTATIONS_TOPIC:
        return foxglove.IMAGE_ANNOTATIONS, "jsonschema", json.dumps(foxglove.image_annotations_schema()).encode()
    name = topic.removeprefix(PREFIX)
    plain = foxglove.plain_schema(schema.schemas()[f"{name}.json"])
    return f"henasy.{name.capitalize()}", "jsonschema", json.dumps(plain).encode()


def _within(stamp_ns: int) -> int:
    """A time that MCAP and ROS can hold: from 1970 to 2038."""
    return min(max(stamp_ns, 0), _LATEST_NS)
