"""What a node takes in over ZeroMQ or from a file of lines: the entities that the user's own detector found.

Part of schema version 1; see docs/messages.md, "Entities from outside".  Needs msgspec only.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import msgspec

from henasy_stream.sinks.messages import PREFIX, Part, about
from henasy_stream.sinks.wire import MessageError

MOST_ENTITIES = 64
MAX_BYTES = 1 << 17
"""A longer body or line is refused; 64 entities take about 8 kB."""
_FAR_NS = 1 << 62

Coordinate = Annotated[float, about("May lie beyond the frame: what reaches out of it is cut off.")]


class EntityMessage(Part, frozen=True, kw_only=True):
    """One thing that the detector found.  Further keys, such as an id of the detector's own, are not read."""

    label: Annotated[
        str,
        msgspec.Meta(
            description="Its name, any text; empty: it has none. Captions that say the name are found with it.",
            max_length=200,
        ),
    ]
    box_xyxy: Annotated[
        tuple[Coordinate, Coordinate, Coordinate, Coordinate],
        about("x0, y0, x1, y1 in pixels of the source's frame; x right, y down, half-open: x0 <= x1, y0 <= y1."),
    ]
    score: Annotated[float, about("How sure the detector is, 0 to 1.", ge=0, le=1)] = 1.0

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box_xyxy
        if not (all(map(math.isfinite, self.box_xyxy)) and x0 <= x1 and y0 <= y1):
            raise ValueError(f"box_xyxy is {list(self.box_xyxy)}, not x0, y0, x1, y1 with x0 <= x1 and y0 <= y1")


class Entities(msgspec.Struct, frozen=True, kw_only=True):
    """All that the detector found in one frame, also when that is nothing."""

    topic: ClassVar[str] = PREFIX + "entities"

    stamp_ns: Annotated[
        int,
        about(
            "Of the frame that the detector saw, nanoseconds of the source's clock: the `stamp_ns` of `frame`, or for "
            "a file the time since its start.",
            ge=-_FAR_NS,
            le=_FAR_NS,
        ),
    ]
    entities: Annotated[tuple[EntityMessage, ...], msgspec.Meta(max_length=MOST_ENTITIES)]


_BAD_BYTES = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_msgpack = msgspec.msgpack.Decoder(Entities)
_json = msgspec.json.Decoder(Entities)


def entities_from_wire(body: bytes) -> Entities:
    """The message in a msgpack body.  Raises MessageError."""
    return _decode(_msgpack, body)


def entities_from_line(line: bytes) -> Entities:
    """The message in one line of JSON.  Raises MessageError."""
    return _decode(_json, line)


def _decode(decoder: msgspec.msgpack.Decoder[Entities] | msgspec.json.Decoder[Entities], data: bytes) -> Entities:
    if len(data) > MAX_BYTES:
        raise MessageError(f"longer than {MAX_BYTES} bytes")
    try:
        return decoder.decode(data)
    except _BAD_BYTES as error:
        raise MessageError(str(error)) from error
