"""What page and browser say to each other: one binary WebSocket message each, see `pack`.

To the browser: a head in JSON, and a payload (a JPEG, or the masks).  From it: JSON alone.  Stamps are nanoseconds as
they are elsewhere; JavaScript rounds them to a quarter of a microsecond, the same way wherever they come from.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any, Literal

import msgspec

from henasy_stream.control import MAX_QUERIES, MAX_TEXT
from henasy_stream.sinks.messages import NodeState, Percentiles, QueryMessage, RelationMessage, TrackMessage

VERSION = 1
MAX_MESSAGE_BYTES = 16 * 1024
"""From a browser: a longer message costs it the connection."""

_LENGTH = struct.Struct("<I")
_encoder = msgspec.json.Encoder()


class Head(msgspec.Struct, frozen=True, kw_only=True, tag_field="t"):
    """Of a message to the browser; `t` says which one."""


class Span(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """From and to, stamps in nanoseconds."""

    start_ns: int
    end_ns: int


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """When a track was seen."""

    id: int
    label: str
    colour: str
    query: str | None
    spans: tuple[Span, ...]


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """A segment of the captions."""

    segment_id: int
    text: str
    score: float
    start_ns: int
    end_ns: int
    final: bool
    track_ids: tuple[int, ...] = ()
    alternatives: tuple[tuple[str, float], ...] = ()


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """How the node fared over about a second.

    `stage_ms` is the mean by stage and `age_ms` the greatest age of a result when it was handed out; both hold what
    happened since the sample before.  Rates are per second.
    """

    unix_ms: int
    stage_ms: dict[str, float] = {}
    age_ms: float | None = None
    in_fps: float = 0.0
    used_fps: float = 0.0
    hops: float = 0.0
    dropped: float = 0.0


class Greeting(Head, frozen=True, kw_only=True, tag="greeting"):
    """The first message to a viewer, and again after it missed some: what the node is and what happened so far."""

    version: int = VERSION
    release: str
    session: str
    source: str = ""
    model: str = ""
    capabilities: tuple[str, ...] = ()
    synthetic: bool = False
    queries: bool = False
    downloads: tuple[str, ...] = ()
    seen: tuple[Seen, ...] = ()
    actions: tuple[Action, ...] = ()
    samples: tuple[Sample, ...] = ()


class Picture(Head, frozen=True, kw_only=True, tag="frame"):
    """A frame, upright; `width` and `height` are those of the source, the payload is a JPEG that may be smaller.

    `missed` counts frames that were not sent to this viewer since it came.
    """

    number: int
    index: int
    stamp_ns: int
    width: int
    height: int
    missed: int = 0


class MaskLayout(msgspec.Struct, frozen=True, kw_only=True):
    """The payload is `count` x `height` x `width` probabilities in 1/255, mask by mask, row by row.

    Mask `i` belongs to the track whose `mask_index` is `i + 1`.  `affine` takes mask coordinates to source pixels.
    """

    count: int
    height: int
    width: int
    affine: tuple[tuple[float, ...], ...]


class Result(Head, frozen=True, kw_only=True, tag="result"):
    """What is known from frame `index` on, made of frames up to `window_end_ns`.

    `visible`: corners of what the model sees of a frame, null for all.
    """

    index: int
    stamp_ns: int
    window_end_ns: int
    width: int
    height: int
    tracks: tuple[TrackMessage, ...]
    colours: dict[int, str]
    relations: tuple[RelationMessage, ...]
    queries: tuple[QueryMessage, ...]
    caption: Action | None
    closed: tuple[Action, ...]
    reset: str | None
    notice: str | None
    visible: tuple[tuple[float, ...], ...] | None
    masks: MaskLayout | None


class State(Head, frozen=True, kw_only=True, tag="state"):
    """Once a second: how the node and this viewer's connection are."""

    state: NodeState
    reason: str
    since_ns: int
    frames_in: int
    frames_used: int
    frames_dropped: int
    frames_failed: int
    latency_ms: dict[str, Percentiles]
    sample: Sample
    viewers: int
    missed_frames: int
    missed_results: int


class Reply(Head, frozen=True, kw_only=True, tag="reply"):
    """To an `Ask`."""

    ask: int
    ok: bool
    queries: tuple[str, ...] = ()
    error: str | None = None


class Saved(Head, frozen=True, kw_only=True, tag="saved"):
    """All pieces of a file were sent, or `error` says why not."""

    size: int = 0
    error: str | None = None


class Making(Head, frozen=True, kw_only=True, tag="making"):
    """The file is being made: so many frames of all are in it."""

    done: int
    total: int


class Piece(Head, frozen=True, kw_only=True, tag="piece"):
    """The payload is the next part of a file."""


Text = Annotated[str, msgspec.Meta(max_length=4 * MAX_TEXT)]


class Said(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", forbid_unknown_fields=True):
    """From the browser."""


class Hello(Said, frozen=True, kw_only=True, tag="hello"):
    """The first message: the token where one is needed, and what the viewer has room for."""

    token: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class Wish(Said, frozen=True, kw_only=True, tag="wish"):
    """Which pictures the viewer wants from now on: none while it is hidden or paused."""

    frames: bool = True
    size: Literal["small", "full"] = "full"
    max_fps: Annotated[float, msgspec.Meta(ge=1, le=60)] = 30.0


class Ack(Said, frozen=True, kw_only=True, tag="ack"):
    """So many frames came since the connection was made."""

    frames: Annotated[int, msgspec.Meta(ge=0)]


class Ask(Said, frozen=True, kw_only=True, tag="ask"):
    """Look for these texts as well, and no longer for those."""

    ask: Annotated[int, msgspec.Meta(ge=0, le=2**31)]
    add: Annotated[tuple[Text, ...], msgspec.Meta(max_length=MAX_QUERIES)] = ()
    remove: Annotated[tuple[Text, ...], msgspec.Meta(max_length=MAX_QUERIES)] = ()


class Save(Said, frozen=True, kw_only=True, tag="save"):
    """On a connection of its own: the last half minute as a file, which comes in pieces before `Saved`."""

    format: Literal["mcap", "mp4"]


FromBrowser = Hello | Wish | Ack | Ask | Save
_decoder: msgspec.json.Decoder[FromBrowser] = msgspec.json.Decoder(FromBrowser)


def pack(head: Head, payload: bytes = b"") -> bytes:
    """Length of the head (4 bytes, little-endian), the head as JSON, the payload."""
    body = _encoder.encode(head)
    return b"".join((_LENGTH.pack(len(body)), body, payload))


def unpack(message: bytes) -> tuple[dict[str, Any], bytes]:
    """Head and payload of a packed message, as a browser reads them."""
    (length,) = _LENGTH.unpack_from(message)
    end = _LENGTH.size + length
    return msgspec.json.decode(message[_LENGTH.size : end]), message[end:]


def decode(message: str | bytes) -> FromBrowser:
    """What a browser says.

    Raises:
        ValueError: it is none of it.
    """
    try:
        return _decoder.decode(message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())[:200]) from error
