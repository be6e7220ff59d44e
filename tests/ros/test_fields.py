"""Our messages as ROS fields: nothing left out, nothing bent, and every message that can be sent fits ROS's types."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings

from henasy_stream.ros import cdr
from henasy_stream.ros.fields import (
    ERROR,
    LEVELS,
    OK,
    caption_fields,
    detections_fields,
    diagnostics_fields,
    header_fields,
    label_info_fields,
    time_fields,
    tracks_fields,
    vision_info_fields,
)
from henasy_stream.ros.interfaces import fields
from henasy_stream.sinks import messages
from henasy_stream.sinks.builder import MessageBuilder
from henasy_stream.types import QueryAnswer
from tests.ros.definitions import typestore
from tests.sinks import synthetic

ANSWER = QueryAnswer(
    text="cup", kind="action", present=True, score=0.5, calibrated=True, track_ids=(1, 2), track_scores=(0.75, 0.25)
)
TRACKS, CAPTION = "henasy_msgs/msg/EntityTrackArray", "henasy_msgs/msg/ActionCaption"


def rich() -> list[messages.Message]:
    """A tracks message and a caption in which no field of ROS has its default."""
    track = synthetic.track(1, query="cup", state="lost", first_seen_ns=1_500_000_001)
    builder = MessageBuilder(synthetic.SPEC, embeddings=True)
    taken = dataclasses.replace(synthetic.frame(4), clock="device", stamp_source="file", stamp_ns=2_000_000_007)
    perception = synthetic.perception(
        frame=taken, stamp_ns=taken.stamp_ns, tracks=(track,), queries=(ANSWER,), window_end_ns=taken.stamp_ns
    )
    perception = dataclasses.replace(
        perception, reset="gap", closed=(synthetic.caption(2, final=True),), window_start_ns=500_000_001
    )
    builder.perception(perception)  # so that the counters are not at zero
    return builder.perception(perception)


def of(kind: type[messages.Message], batch: list[messages.Message]) -> Any:
    return next(message for message in batch if isinstance(message, kind))


def same_shape(name: str, values: dict[str, Any]) -> None:
    """Exactly the fields of the definition, in every message inside."""
    assert set(values) == {field.name for field in fields(name)}, name
    for field in fields(name):
        if field.is_message:
            for inner in [values[field.name]] if field.size is None else values[field.name]:
                same_shape(field.type, inner)


def empty_fields(name: str, values: dict[str, Any]) -> set[str]:
    """The fields that are as a new ROS message has them."""
    found = set()
    for field in fields(name):
        value = values[field.name]
        inner = [value] if field.is_message and field.size is None else value if field.is_message else []
        found |= {f"{field.name}.{empty}" for one in inner for empty in empty_fields(field.type, one)}
        if value in (0, "", [], False, 0.0):
            found.add(field.name)
    return found


def test_every_field_is_filled():
    batch = rich()
    tracks, caption = tracks_fields(of(messages.Tracks, batch)), caption_fields(of(messages.Caption, batch))
    same_shape(TRACKS, tracks)
    same_shape(CAPTION, caption)
    assert empty_fields(TRACKS, tracks) == {
        "relations.start.sec",  # half a second
        "tracks.last_seen.nanosec",  # two seconds
        "info.window_start.sec",
    }
    assert empty_fields(CAPTION, caption) == {"start.sec", "end.nanosec", "info.window_start.sec", "queries"}


def test_what_a_track_says():
    track = tracks_fields(of(messages.Tracks, rich()))["tracks"][0]
    assert track["state"] == 2
    assert (track["id"], track["label"], track["label_index"], track["mask_index"]) == (1, "cup", 1, 1)
    assert track["box_xyxy"] == [10.5, 20.25, 110.5, 220.25]
    assert track["first_seen"] == {"sec": 1, "nanosec": 500_000_001}
    assert track["hypotheses"] == [{"text": "cup", "score": 0.75}, {"text": "knife", "score": 0.125}]
    assert (track["query"], track["embedding"]) == ("cup", [0.5, 0.5, -0.5, 0.5])


def test_what_is_null_is_empty():
    bare = synthetic.track(1, mask_index=None, query=None, embedding=None, label_index=-1, hypotheses=())
    builder = MessageBuilder(synthetic.SPEC)
    values = tracks_fields(of(messages.Tracks, builder.perception(synthetic.perception(tracks=(bare,)))))
    assert values["info"]["reset"] == ""
    track = values["tracks"][0]
    assert (track["mask_index"], track["query"], track["embedding"]) == (0, "", [])
    assert (track["label_index"], track["hypotheses"]) == (-1, [])


def test_headers_have_the_stamp_and_frame_id_of_the_frame():
    batch = rich()
    expected = {"stamp": {"sec": 2, "nanosec": 7}, "frame_id": "camera"}
    for values in (
        tracks_fields(of(messages.Tracks, batch)),
        caption_fields(of(messages.Caption, batch)),
        detections_fields(of(messages.Tracks, batch)),
    ):
        assert values["header"] == expected


class TestDetections:
    def test_boxes_become_centre_and_size(self):
        message = of(messages.Tracks, MessageBuilder(synthetic.SPEC).perception(synthetic.perception()))
        detection = detections_fields(message)["detections"][0]
        assert detection["bbox"] == {
            "center": {"position": {"x": 60.5, "y": 120.25}, "theta": 0.0},
            "size_x": 100.0,
            "size_y": 200.0,
        }
        assert detection["id"] == "1"

    def test_a_score_is_that_of_the_thing_and_its_label_together(self):
        message = of(messages.Tracks, MessageBuilder(synthetic.SPEC).perception(synthetic.perception()))
        results = [r["hypothesis"] for r in detections_fields(message)["detections"][0]["results"]]
        assert results == [
            {"class_id": "cup", "score": 0.875 * 0.75},
            {"class_id": "knife", "score": 0.875 * 0.125},
        ]

    def test_the_label_comes_first_even_if_it_is_no_hypothesis(self):
        track = synthetic.track(1, label="my blue cup", label_index=-1, label_score=0.5)
        message = of(messages.Tracks, MessageBuilder(synthetic.SPEC).perception(synthetic.perception(tracks=(track,))))
        results = [r["hypothesis"]["class_id"] for r in detections_fields(message)["detections"][0]["results"]]
        assert results == ["my blue cup", "cup", "knife"]

    @pytest.mark.parametrize(("state", "there"), [("new", 1), ("tracked", 1), ("lost", 0), ("removed", 0)])
    def test_only_what_is_seen_now_is_detected(self, state, there):
        track = synthetic.track(1, state=state)
        message = of(messages.Tracks, MessageBuilder(synthetic.SPEC).perception(synthetic.perception(tracks=(track,))))
        assert len(detections_fields(message)["detections"]) == there


def within_ros_time(message: messages.Message) -> Any:
    """The message with every stamp moved into the 68 years that ROS can tell."""

    def moved(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: moved(v, k) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [moved(v) for v in value]
        return value % (2**32 * 10**9) - 2**31 * 10**9 if key.endswith("_ns") else value

    return msgspec.convert(moved(msgspec.to_builtins(message)), type(message))


@settings(max_examples=80, deadline=None)
@given(synthetic.perceptions)
def test_whatever_is_sent_fits_and_is_read_as_it_was(perception):
    for sent in MessageBuilder(synthetic.SPEC, embeddings=True).perception(perception):
        message = within_ros_time(sent)
        made = {CAPTION: caption_fields(message)} if isinstance(message, messages.Caption) else {}
        if isinstance(message, messages.Tracks):
            made = {TRACKS: tracks_fields(message), "vision_msgs/msg/Detection2DArray": detections_fields(message)}
        for name, values in made.items():
            same_shape(name, values)
            read = typestore().deserialize_cdr(cdr.encode(name, values), name)
            assert (read.header.stamp.sec, read.header.stamp.nanosec) == divmod(message.stamp_ns, 10**9)
            if name == TRACKS:
                assert [t.id for t in read.tracks] == [t.id for t in message.tracks]
                assert [q.present for q in read.queries] == [q.present for q in message.queries]


@pytest.mark.parametrize(
    ("ns", "sec", "nanosec"),
    [
        (0, 0, 0),
        (1_764_043_200_018_700_001, 1_764_043_200, 18_700_001),
        (-1, -1, 999_999_999),
        (-1_700_000_000, -2, 300_000_000),
        (2**31 * 10**9 - 1, 2**31 - 1, 999_999_999),
        (-(2**31) * 10**9, -(2**31), 0),
    ],
)
def test_stamps(ns, sec, nanosec):
    assert time_fields(ns) == {"sec": sec, "nanosec": nanosec}


@pytest.mark.parametrize("ns", [2**31 * 10**9, -(2**31) * 10**9 - 1, 2**62])
def test_a_stamp_that_ros_cannot_hold_is_named(ns):
    with pytest.raises(ValueError, match=f"stamp {ns} ns is more than 68 years"):
        time_fields(ns)


class TestAboutTheNode:
    STATUS: Any = synthetic.example("henasy/1/status")
    HEADER = header_fields(5, "")

    def test_every_state_has_a_level(self):
        assert set(LEVELS) == set(get_args(messages.NodeState))
        assert {state for state, level in LEVELS.items() if level == OK} == {"RUNNING"}
        assert {state for state, level in LEVELS.items() if level == ERROR} == {"SOURCE_LOST", "STALLED"}

    def test_diagnostics(self):
        values = diagnostics_fields(self.STATUS, "henasy_stream: stream")
        same_shape("diagnostic_msgs/msg/DiagnosticArray", values)
        status = values["status"][0]
        assert (status["level"], status["name"], status["message"]) == (OK, "henasy_stream: stream", "RUNNING")
        assert {"key": "frames dropped", "value": "0"} in status["values"]
        cdr.encode("diagnostic_msgs/msg/DiagnosticArray", values)

    def test_the_vocabulary(self):
        values = label_info_fields(("hand", "cup"), self.HEADER)
        same_shape("vision_msgs/msg/LabelInfo", values)
        assert values["class_map"] == [{"class_id": 0, "class_name": "hand"}, {"class_id": 1, "class_name": "cup"}]

    def test_a_vocabulary_beyond_sixteen_bits(self):
        values = label_info_fields(("word",) * 65_537, self.HEADER)
        assert values["class_map"][-1]["class_id"] == 65_535
        cdr.encode("vision_msgs/msg/LabelInfo", values)

    def test_the_model(self):
        values = vision_info_fields("demo", "sha256:0", self.HEADER)
        same_shape("vision_msgs/msg/VisionInfo", values)
        assert (values["method"], values["database_location"]) == ("demo", "sha256:0")
