"""The messages of schema version 1: what a subscriber receives and what a record holds.

One type a topic.  `docs/schema/v1` is written from these types (`python -m henasy_stream.sinks.schema`) and
`docs/messages.md` tells the rules of delivery.  Readers ignore keys and topics they do not know; version 1 only adds,
and whatever is added later has a default here, so that older messages can still be read.

This module needs msgspec only: a client imports neither NumPy nor OpenCV nor torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import msgspec

SCHEMA_VERSION = 1
PREFIX = f"henasy/{SCHEMA_VERSION}/"

Clock = Literal["unix", "monotonic", "media", "device"]
StampSource = Literal["device", "receive", "file", "synthetic"]
TrackState = Literal["new", "tracked", "lost", "removed"]
NodeState = Literal["STARTING", "BUILDING", "RUNNING", "SOURCE_LOST", "STALLED", "STOPPING"]


def about(text: str, *, ge: int | None = None, le: int | None = None) -> msgspec.Meta:
    """What a key means, its unit and its range: goes into the JSON Schema, and `ge`, `le` are checked on reading."""
    return msgspec.Meta(description=text, ge=ge, le=le)


Score = Annotated[float, about("Probability, 0 to 1.", ge=0, le=1)]
TrackId = Annotated[int, about("Id of a track; never used again within a session.", ge=0)]
StampNs = Annotated[int, about("Acquisition time in nanoseconds of `clock`.")]
Coordinate = Annotated[float, msgspec.Meta(ge=0)]
AffineRow = tuple[float, float, float]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A value inside a message."""


class Message(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What every message says.  Keys about a frame are null in messages that are not about a frame."""

    topic: ClassVar[str] = ""

    session: Annotated[str, about("Random name of this run of the publisher; another one: it restarted.")]
    seq: Annotated[
        int, about("Counts the messages of this topic in this session from 0; a step over 1 is a gap.", ge=0)
    ]
    frame_index: Annotated[int | None, about("Null: not about a frame.")]
    stamp_ns: Annotated[int | None, about("Null: not about a frame.")]
    clock: Annotated[Clock | None, about("Null: not about a frame.")]
    stamp_source: Annotated[StampSource | None, about("Null: not about a frame.")]
    published_ns: Annotated[int, about("When the message was made, nanoseconds since 1970, UTC.")]
    window_start_ns: Annotated[int | None, about("Null: not about a frame.")]
    window_end_ns: Annotated[int | None, about("Null: not about a frame.")]
    frame_id: Annotated[str | None, about("Null: not about a frame.")]
    source: Annotated[str | None, about("The source as the user named it; null before the first frame.")]
    reset: Annotated[
        str | None,
        about(
            "Why the stream's state started afresh since the last message of this topic (gap, seek, another "
            "resolution, reconnect); null when it did not. Track ids from before a reset do not come back.",
        ),
    ]

    @property
    def parts(self) -> tuple[bytes, ...]:
        """The binary parts that travel behind the body.  Not a key of the body, and no part of equality."""
        return self.__dict__.get("parts", ())

    def with_parts(self, parts: Sequence[bytes]) -> None:
        """Attaches the binary parts; called once, by whoever made the message."""
        self.__dict__["parts"] = tuple(parts)


class FrameMessage(Message, frozen=True, kw_only=True, dict=True):
    """What every message about a frame says."""

    frame_index: Annotated[
        int, about("Counts the source's frames from 0; joins tracks, caption, masks and frame.", ge=0)
    ]
    stamp_ns: Annotated[int, about("When the frame was taken, in nanoseconds of `clock`.")]
    clock: Annotated[
        Clock,
        about(
            "unix: since 1970, UTC. monotonic: since an arbitrary moment, this machine only. media: since the start "
            "of the file. device: the camera's own.",
        ),
    ]
    stamp_source: Annotated[
        StampSource,
        about(
            "device: the camera's own stamp. receive: when the frame arrived here. file: the file's time stamp. "
            "synthetic: computed from a frame rate.",
        ),
    ]
    window_start_ns: Annotated[
        int, about("Stamp of the oldest frame that the result rests on, nanoseconds of `clock`.")
    ]
    window_end_ns: Annotated[int, about("Stamp of the newest frame that the result rests on, nanoseconds of `clock`.")]
    frame_id: Annotated[str, about("Name of the camera's coordinate frame.")]
    source: Annotated[str, about("The source as the user named it.")]


class Vocabulary(Part, frozen=True, kw_only=True):
    """The words that the model names things by; empty when its weights were trained on open narrations."""

    nouns: Annotated[tuple[str, ...], about("`label_index` of a track points into this list.")]
    verbs: tuple[str, ...]


class Meta(Message, frozen=True, kw_only=True, dict=True):
    """Once a second: which model speaks, and what its messages will hold."""

    topic: ClassVar[str] = PREFIX + "meta"

    schema: Annotated[Literal[1], about("Version of the schema.")]
    model_id: str
    capabilities: Annotated[
        tuple[str, ...],
        about("Of caption, entities, queries. A model without entities sends no tracks."),
    ]
    vocabulary: Vocabulary
    vocabulary_hash: Annotated[
        str, about("sha256: and hex digits, over `vocabulary` as JSON with sorted keys and no spaces, UTF-8.")
    ]
    image_size: Annotated[int, about("Side of the square picture that the model sees, in its pixels.", ge=1)]


class Counters(Part, frozen=True, kw_only=True):
    """Since the session started."""

    frames_in: Annotated[int, about("Frames that the source delivered.", ge=0)]
    frames_used: Annotated[int, about("Frames that entered a window.", ge=0)]
    frames_dropped: Annotated[int, about("Frames thrown away because a newer one was there.", ge=0)]
    messages_not_sent: Annotated[
        int,
        about(
            "Messages that a sink gave up (a full disk, a refused send). What a slow subscriber lost is not among "
            "them: it sees that itself by `seq`.",
            ge=0,
        ),
    ]
    frames_failed: Annotated[
        int, about("Frames that the network could not be run on; the stream starts afresh after each.", ge=0)
    ] = 0


class Percentiles(Part, frozen=True, kw_only=True):
    """Milliseconds that half, 95 % and 99 % of the recent steps stayed below."""

    p50: Annotated[float, msgspec.Meta(ge=0)]
    p95: Annotated[float, msgspec.Meta(ge=0)]
    p99: Annotated[float, msgspec.Meta(ge=0)]


class Status(Message, frozen=True, kw_only=True, dict=True):
    """On change and once a second: how the node is."""

    topic: ClassVar[str] = PREFIX + "status"

    state: Annotated[
        NodeState,
        about(
            "STARTING: loading. BUILDING: preparing an engine, may take minutes. RUNNING. SOURCE_LOST: no frames; "
            "trying again. STALLED: frames come, results do not. STOPPING: last message of the session.",
        ),
    ]
    reason: Annotated[str, about("For people; empty when there is nothing to explain.")]
    since_ns: Annotated[int, about("When `state` began, nanoseconds since 1970, UTC.")]
    counters: Counters
    latency_ms: Annotated[
        dict[str, Percentiles],
        about("By stage, milliseconds; empty before the first step."),
    ]


class HypothesisMessage(Part, frozen=True, kw_only=True):
    """A candidate label of a track."""

    label: str
    score: Score


class TrackMessage(Part, frozen=True, kw_only=True):
    """One entity over time."""

    id: TrackId
    label: str
    label_index: Annotated[
        int, about("Place of `label` in the vocabulary's nouns of `meta`; -1: it is not one of them.", ge=-1)
    ]
    label_score: Annotated[float, about("Probability of `label`, given that something is there, 0 to 1.", ge=0, le=1)]
    score: Annotated[float, about("Probability that something is there at all, 0 to 1.", ge=0, le=1)]
    state: Annotated[
        TrackState,
        about(
            "new: published for the first time. tracked: seen in this window. lost: not seen now, the box is the "
            "last one. removed: sent once, the id never comes back.",
        ),
    ]
    box_xyxy: Annotated[
        tuple[Coordinate, Coordinate, Coordinate, Coordinate],
        about(
            "x0, y0, x1, y1 in pixels of the source's frame; x right, y down, half-open: 0 <= x0 <= x1 <= width, 0 "
            "<= y0 <= y1 <= height.",
        ),
    ]
    mask_index: Annotated[int | None, about("This entity's value in the mask image; null when no mask shows it now.")]
    first_seen_ns: StampNs
    last_seen_ns: StampNs
    hypotheses: Annotated[tuple[HypothesisMessage, ...], about("Candidate labels, likeliest first.")]
    query: Annotated[str | None, about("The user's text that this track answers; null for other tracks.")]
    embedding: Annotated[
        tuple[float, ...] | None,
        about("Unit vector in the model's joint text space; null unless asked for."),
    ]


class RelationMessage(Part, frozen=True, kw_only=True):
    """Subject, predicate, object, between tracks that are seen in the same message: hand 3 contacts cup 5."""

    subject_id: TrackId
    predicate: Annotated[str, about("contacts: a hand touches a thing. Further ones may be added.")]
    object_id: TrackId
    score: Score
    start_ns: Annotated[int, about("Acquisition time in nanoseconds of `clock` since when it holds without a break.")]


class QueryMessage(Part, frozen=True, kw_only=True):
    """What is known of a text that the user asks for."""

    text: Annotated[str, about("As the user wrote it.")]
    kind: Annotated[
        Literal["entity", "action"], about("entity: the text names a thing. action: it names something that is done.")
    ]
    present: Annotated[bool, about("False: absent.")]
    score: Annotated[float, about("Probability that it is there now, 0 to 1.", ge=0, le=1)]
    calibrated: Annotated[
        bool, about("True: `score` was fitted to how often such answers are right. False: it only orders them.")
    ]
    track_ids: Annotated[
        tuple[TrackId, ...], about("Tracks that answer, best first: the things meant, or those that act.")
    ]
    track_scores: Annotated[
        tuple[Score, ...],
        about("One for each of `track_ids`: how surely it is the thing, or how much it has to do with the action."),
    ]


class Tracks(FrameMessage, frozen=True, kw_only=True, dict=True):
    """Once a hop, also when nothing is there: all entities, as of the window's newest frame."""

    topic: ClassVar[str] = PREFIX + "tracks"

    width: Annotated[int, about("Of the source's frame, pixels.", ge=1)]
    height: Annotated[int, about("Of the source's frame, pixels.", ge=1)]
    tracks: tuple[TrackMessage, ...]
    relations: tuple[RelationMessage, ...]
    queries: Annotated[
        tuple[QueryMessage, ...], about("One for each text that the user asks for now, in the user's order.")
    ] = ()


class AlternativeMessage(Part, frozen=True, kw_only=True):
    """A caption that was considered."""

    text: str
    score: Score


class Caption(FrameMessage, frozen=True, kw_only=True, dict=True):
    """The action going on: one segment, updated while it lasts, closed by one message with `final`."""

    topic: ClassVar[str] = PREFIX + "caption"

    segment_id: Annotated[int, about("Of this action; never used again within a session.", ge=0)]
    text: str
    score: Score
    start_ns: StampNs
    end_ns: Annotated[int, about("So far, or for good when `final`; nanoseconds of `clock`.")]
    final: Annotated[bool, about("True once a segment: its last message.")]
    track_ids: Annotated[tuple[TrackId, ...], about("Tracks that the text speaks of.")]
    alternatives: Annotated[tuple[AlternativeMessage, ...], about("Likeliest first.")]
    queries: Annotated[
        tuple[QueryMessage, ...], about("As in `tracks`, from a model without entities, which sends none; else empty.")
    ] = ()


class MasksHeader(FrameMessage, frozen=True, kw_only=True, dict=True):
    """On request, once a hop.  One binary part: an 8-bit grey PNG, 0 background, else the `mask_index` of a track."""

    topic: ClassVar[str] = PREFIX + "masks"

    mask_width: Annotated[int, about("Of the mask image, its own pixels.", ge=1)]
    mask_height: Annotated[int, about("Of the mask image, its own pixels.", ge=1)]
    affine: Annotated[
        tuple[AffineRow, AffineRow],
        about(
            "Rows [a, b, c], [d, e, f]: x = a u + b v + c, y = d u + e v + f takes continuous mask coordinates (u "
            "right, v down, half-open: the first pixel's centre is 0.5, 0.5) to pixels of the source's frame.",
        ),
    ]


class FrameHeader(FrameMessage, frozen=True, kw_only=True, dict=True):
    """On request, once a hop: the picture that the result belongs to.  One binary part."""

    topic: ClassVar[str] = PREFIX + "frame"

    width: Annotated[int, about("Of the picture, pixels.", ge=1)]
    height: Annotated[int, about("Of the picture, pixels.", ge=1)]
    encoding: Annotated[
        Literal["jpeg", "rgb8"],
        about("jpeg: a JPEG file. rgb8: height x width x 3 bytes, row by row, red first."),
    ]


TYPES: dict[str, type[Message]] = {t.topic: t for t in (Meta, Status, Tracks, Caption, MasksHeader, FrameHeader)}
"""The type of the body by topic, in the order of docs/messages.md."""

TOPICS: tuple[str, ...] = tuple(TYPES)
