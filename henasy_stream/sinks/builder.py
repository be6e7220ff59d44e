"""Turns perceptions and the node's state into messages: the one builder that feeds every sink."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from henasy_stream.sinks import convert, messages
from henasy_stream.types import Masks, ModelSpec, Perception

HEARTBEAT_NS = 1_000_000_000

_NOT_ABOUT_A_FRAME: dict[str, Any] = dict.fromkeys(
    ("frame_index", "stamp_ns", "clock", "stamp_source", "window_start_ns", "window_end_ns", "frame_id", "reset")
)

M = TypeVar("M", bound=messages.Message)


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeStatus:
    """How the node is: what the runtime knows and `henasy/1/status` says.

    `since_ns` is Unix time.  `latency_ms` is by stage and may be empty.
    """

    state: messages.NodeState
    since_ns: int
    reason: str = ""
    frames_in: int = 0
    frames_used: int = 0
    frames_dropped: int = 0
    frames_failed: int = 0
    messages_not_sent: int = 0
    latency_ms: Mapping[str, messages.Percentiles] = field(default_factory=dict)


class MessageBuilder:
    """Holds what the messages of one session share: its name, the counter of each topic, and when the next are due.

    Args:
        spec: of the model that speaks; None while it still loads (see `set_model`).
        labels: what the tracks' `label_index` counts; the weights' nouns when None.
        session: name of this run; random when None.
        source: the source as the user named it, for messages before the first frame.
        masks: send `henasy/1/masks`.
        frame: send `henasy/1/frame`.
        embeddings: send the tracks' embeddings.
        unix_ns: the wall clock, stamped on messages.
        monotonic_ns: the clock that the heartbeat goes by.
    """

    def __init__(
        self,
        spec: ModelSpec | None = None,
        labels: Sequence[str] | None = None,
        *,
        session: str | None = None,
        source: str | None = None,
        masks: bool = False,
        frame: bool = False,
        embeddings: bool = False,
        unix_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.session = session or secrets.token_hex(8)
        self._spec = spec
        self._labels = labels
        self._source = source
        self._want_masks = masks
        self._want_frame = frame
        self._want_embeddings = embeddings
        self._unix_ns = unix_ns
        self._monotonic_ns = monotonic_ns
        self._next_seq: Counter[str] = Counter()
        self._resets: dict[str, str] = {}
        self._removed: frozenset[int] = frozenset()
        self._meta_due_ns = 0
        self._status_due_ns = 0
        self._last_state: tuple[str, str] | None = None

    def set_model(self, spec: ModelSpec, labels: Sequence[str] | None = None) -> None:
        """Names the model that speaks from now on, and what `label_index` counts; `meta` is due at once."""
        self._spec = spec
        self._labels = labels
        self._meta_due_ns = 0

    def perception(self, perception: Perception) -> list[messages.Message]:
        """The messages of one step, in the order to send: tracks, closed captions, the caption, masks, frame.

        A step between two hops has none, unless a segment was closed or a track removed by it; a reset at such a
        step is told by the next message of each topic.  A model without entities sends no tracks.

        Raises:
            ValueError: something in it is no finite number.  No sequence number is used up then, since readers take a
                number that is skipped for a message that was lost on its way.
        """
        assert self._spec is not None, "a perception needs a model: call set_model first"
        self._source = perception.frame.source
        if perception.reset is not None:
            self._resets = dict.fromkeys(messages.TOPICS, perception.reset)
        before = (self._next_seq.copy(), self._resets.copy(), self._removed)
        try:
            return self._about_step(perception, self._spec)
        except BaseException:
            self._next_seq, self._resets, self._removed = before
            raise

    def heartbeat(self, status: NodeStatus) -> list[messages.Message]:
        """What is due now: meta and status once a second, status also when its state or reason changed.

        No meta before the model is loaded.  Call it at least ten times a second, so that a beat is never much late.
        """
        now = self._monotonic_ns()
        out: list[messages.Message] = []
        if self._spec is not None and now >= self._meta_due_ns:
            self._meta_due_ns = now + HEARTBEAT_NS
            out.append(self._meta(self._spec))
        state = (status.state, status.reason)
        if now >= self._status_due_ns or state != self._last_state:
            self._status_due_ns = now + HEARTBEAT_NS
            self._last_state = state
            out.append(self._status(status))
        return out

    def _about_step(self, perception: Perception, spec: ModelSpec) -> list[messages.Message]:
        out: list[messages.Message] = []
        queries = tuple(convert.query_message(answer) for answer in perception.queries)
        if "entities" in spec.capabilities:
            out += self._tracks(perception, queries)
            queries = ()
        bodies = [convert.caption_body(caption) for caption in perception.closed]
        if perception.fresh and perception.caption is not None:
            bodies.append(convert.caption_body(perception.caption) | {"queries": queries})
        out += [self._about(messages.Caption, perception, **body) for body in bodies]
        if not perception.fresh:
            return out
        if self._want_masks and perception.masks is not None:
            out.append(self._masks(perception, perception.masks))
        if self._want_frame:
            out.append(self._frame(perception))
        return out

    def _meta(self, spec: ModelSpec) -> messages.Meta:
        nouns = spec.nouns if self._labels is None else tuple(self._labels)
        vocabulary = messages.Vocabulary(nouns=nouns, verbs=spec.verbs)
        return self._node(
            messages.Meta,
            schema=messages.SCHEMA_VERSION,
            model_id=spec.model_id,
            capabilities=tuple(sorted(spec.capabilities)),
            vocabulary=vocabulary,
            vocabulary_hash=vocabulary_hash(vocabulary),
            image_size=spec.image_size,
        )

    def _status(self, status: NodeStatus) -> messages.Status:
        counters = messages.Counters(
            frames_in=status.frames_in,
            frames_used=status.frames_used,
            frames_dropped=status.frames_dropped,
            messages_not_sent=status.messages_not_sent,
            frames_failed=status.frames_failed,
        )
        return self._node(
            messages.Status,
            state=status.state,
            reason=status.reason,
            since_ns=status.since_ns,
            counters=counters,
            latency_ms=dict(status.latency_ms),
        )

    def _tracks(self, perception: Perception, queries: tuple[messages.QueryMessage, ...]) -> list[messages.Message]:
        removed = frozenset(t.id for t in perception.tracks if t.state == "removed")
        told, self._removed = self._removed, removed
        if not perception.fresh and removed <= told:
            return []
        frame = perception.frame
        tracks = tuple(
            convert.track_message(track, width=frame.width, height=frame.height, with_embedding=self._want_embeddings)
            for track in perception.tracks
            if not (track.state == "removed" and track.id in told)
        )
        relations = tuple(convert.relation_message(r) for r in perception.relations)
        body: dict[str, Any] = {"tracks": tracks, "relations": relations, "queries": queries}
        return [self._about(messages.Tracks, perception, width=frame.width, height=frame.height, **body)]

    def _masks(self, perception: Perception, masks: Masks) -> messages.MasksHeader:
        index = masks.index
        height, width = index.shape
        affine = tuple(tuple(convert.finite(v, "affine") for v in row) for row in masks.to_source)
        return self._about(
            messages.MasksHeader,
            perception,
            parts=(convert.png(index),),
            mask_width=width,
            mask_height=height,
            affine=affine,
        )

    def _frame(self, perception: Perception) -> messages.FrameHeader:
        frame = perception.frame
        return self._about(
            messages.FrameHeader,
            perception,
            parts=(convert.jpeg(frame),),
            width=frame.width,
            height=frame.height,
            encoding="jpeg",
        )

    def _about(self, kind: type[M], perception: Perception, *, parts: Sequence[bytes] = (), **body: Any) -> M:
        """A message about a frame."""
        frame = perception.frame
        message = kind(
            **self._common(kind.topic),
            frame_index=frame.index,
            stamp_ns=perception.stamp_ns,
            clock=frame.clock,
            stamp_source=frame.stamp_source,
            window_start_ns=perception.window_start_ns,
            window_end_ns=perception.window_end_ns,
            frame_id=frame.frame_id,
            source=frame.source,
            reset=self._resets.pop(kind.topic, None),
            **body,
        )
        message.with_parts(parts)
        return message

    def _node(self, kind: type[M], **body: Any) -> M:
        """A message about the node, not about a frame."""
        return kind(**self._common(kind.topic), **_NOT_ABOUT_A_FRAME, source=self._source, **body)

    def _common(self, topic: str) -> dict[str, Any]:
        seq = self._next_seq[topic]
        self._next_seq[topic] += 1
        return {"session": self.session, "seq": seq, "published_ns": self._unix_ns()}


def vocabulary_hash(vocabulary: messages.Vocabulary) -> str:
    """`sha256:` and the digest of the vocabulary as JSON with sorted keys and no spaces, in UTF-8."""
    canonical = json.dumps(msgspec.to_builtins(vocabulary), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
