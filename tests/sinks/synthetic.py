"""Perceptions made by hand and by chance, for everything that sends or receives messages."""

from __future__ import annotations

import json

import jsonschema
import msgspec
import numpy as np
from hypothesis import strategies as st

from henasy_stream.sinks import messages, schema, wire
from henasy_stream.sinks.builder import MessageBuilder, NodeStatus
from henasy_stream.types import (
    Alternative,
    Caption,
    Frame,
    Hypothesis,
    Masks,
    ModelSpec,
    Perception,
    QueryAnswer,
    Relation,
    Track,
)

WIDTH, HEIGHT = 640, 480
PERIOD_NS = 500_000_000

SPEC = ModelSpec(
    model_id="demo",
    image_size=96,
    num_frames=4,
    span_s=1.5,
    embed_dim=4,
    capabilities=frozenset({"caption", "entities", "queries"}),
    nouns=("hand", "cup", "knife"),
    verbs=("pick up", "cut"),
)
CAPTIONS_ONLY = ModelSpec(
    model_id="lavila", image_size=224, num_frames=4, span_s=1.0, embed_dim=4, capabilities=frozenset({"caption"})
)
RUNNING = NodeStatus(state="RUNNING", since_ns=5)

SCHEMAS = schema.schemas()
ADDED = {"henasy/1/tracks": ("queries",), "henasy/1/caption": ("queries",)}
"""Keys that version 1 gained: lists that are empty where an older publisher does not send them."""
VALIDATORS = {
    topic: jsonschema.Draft202012Validator(SCHEMAS[topic.rpartition("/")[2] + ".json"]) for topic in messages.TOPICS
}


def validate(message: messages.Message) -> None:
    """Both forms of the message against its schema."""
    VALIDATORS[message.topic].validate(msgspec.msgpack.decode(wire.to_wire(message)[1]))
    VALIDATORS[message.topic].validate(json.loads(wire.to_json_line(message)))


def example(topic: str) -> messages.Message:
    """A message of that topic with everything in it."""
    builder = MessageBuilder(SPEC, masks=True, frame=True, embeddings=True)
    batch = builder.perception(perception()) + builder.heartbeat(RUNNING)
    return next(m for m in batch if m.topic == topic)


def frame(index: int, *, width: int = WIDTH, height: int = HEIGHT) -> Frame:
    rows = np.linspace(0, 255, height).astype(np.uint8)
    image = np.repeat(np.repeat(rows[:, None, None], width, 1), 3, 2)
    return Frame(image=image, stamp_ns=index * PERIOD_NS, index=index, source="world?seed=7", stamp_source="synthetic")


def track(number: int, **changes: object) -> Track:
    values: dict[str, object] = {
        "id": number,
        "label": SPEC.nouns[number % 3],
        "label_index": number % 3,
        "label_score": 0.75,
        "score": 0.875,
        "state": "tracked",
        "box_xyxy": (10.5, 20.25, 110.5, 220.25),
        "mask_index": number,
        "first_seen_ns": 0,
        "last_seen_ns": 4 * PERIOD_NS,
        "hypotheses": (Hypothesis(label="cup", score=0.75), Hypothesis(label="knife", score=0.125)),
        "embedding": np.array([0.5, 0.5, -0.5, 0.5], np.float32),
    }
    return Track(**{**values, **changes})  # type: ignore[arg-type]


def caption(segment: int, text: str = "picks up a cup", *, final: bool = False) -> Caption:
    return Caption(
        segment_id=segment,
        text=text,
        score=0.625,
        start_ns=PERIOD_NS,
        end_ns=4 * PERIOD_NS,
        final=final,
        track_ids=(1, 2),
        alternatives=(Alternative(text=text, score=0.625), Alternative(text="cuts a carrot", score=0.25)),
    )


def masks() -> Masks:
    probability = np.zeros((2, 12, 12), np.float32)
    probability[0, 2:6, 2:6] = 0.9
    probability[1, 7:11, 4:9] = 0.8
    return Masks(probability=probability, to_source=np.array([[40.0, 0.0, 80.0], [0.0, 40.0, 0.0]]))


def perception(index: int = 4, **changes: object) -> Perception:
    taken = frame(index)
    values: dict[str, object] = {
        "frame": taken,
        "stamp_ns": taken.stamp_ns,
        "window_start_ns": max(0, taken.stamp_ns - 3 * PERIOD_NS),
        "window_end_ns": taken.stamp_ns,
        "tracks": (track(1), track(2)),
        "caption": caption(3),
        "relations": (Relation(subject_id=1, predicate="picks up", object_id=2, score=0.5, start_ns=PERIOD_NS),),
        "masks": masks(),
    }
    return Perception(**{**values, **changes})  # type: ignore[arg-type]


scores = st.floats(0, 1, width=32)
stamps = st.integers(-(2**62), 2**62)
texts = st.text(max_size=20)
boxes = st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 4)
vectors = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8).map(lambda v: np.array(v, np.float32))
hypotheses = st.lists(st.builds(Hypothesis, label=texts, score=scores), max_size=3).map(tuple)
ids = st.integers(0, 2**62)

tracks = st.builds(
    Track,
    id=ids,
    label=texts,
    label_index=st.integers(-1, 1000),
    label_score=scores,
    score=scores,
    state=st.sampled_from(["new", "tracked", "lost", "removed"]),
    box_xyxy=boxes,
    mask_index=st.none() | st.integers(1, 255),
    first_seen_ns=stamps,
    last_seen_ns=stamps,
    hypotheses=hypotheses,
    query=st.none() | texts,
    embedding=st.none() | vectors,
)


def captions(final: bool) -> st.SearchStrategy[Caption]:
    return st.builds(
        Caption,
        segment_id=ids,
        text=texts,
        score=scores,
        start_ns=stamps,
        end_ns=stamps,
        final=st.just(final),
        track_ids=st.lists(ids, max_size=3).map(tuple),
        alternatives=st.lists(st.builds(Alternative, text=texts, score=scores), max_size=3).map(tuple),
    )


frames = st.builds(
    Frame,
    image=st.tuples(st.integers(1, 9), st.integers(1, 9)).map(lambda s: np.full((*s, 3), 7, np.uint8)),
    stamp_ns=stamps,
    index=st.integers(0, 2**62),
    source=texts,
    frame_id=texts,
    clock=st.sampled_from(["unix", "monotonic", "media", "device"]),
    stamp_source=st.sampled_from(["device", "receive", "file", "synthetic"]),
)

answers = st.builds(
    QueryAnswer,
    text=texts,
    kind=st.sampled_from(["entity", "action"]),
    present=st.booleans(),
    score=scores,
    calibrated=st.booleans(),
    track_ids=st.lists(ids, max_size=3).map(tuple),
    track_scores=st.lists(scores, max_size=3).map(tuple),
)

perceptions = st.builds(
    Perception,
    frame=frames,
    stamp_ns=stamps,
    window_start_ns=stamps,
    window_end_ns=stamps,
    tracks=st.lists(tracks, max_size=4, unique_by=lambda t: t.id).map(tuple),
    caption=st.none() | captions(False),
    closed=st.lists(captions(True), max_size=2).map(tuple),
    relations=st.lists(
        st.builds(Relation, subject_id=ids, predicate=texts, object_id=ids, score=scores, start_ns=stamps), max_size=2
    ).map(tuple),
    queries=st.lists(answers, max_size=2).map(tuple),
    masks=st.none() | st.just(masks()),
    reset=st.none() | texts,
    fresh=st.booleans(),
)
