"""What is published when, and what is not even made because nobody listens."""

from __future__ import annotations

from collections import Counter
from typing import Any

import cv2
import numpy as np
import pytest
from henasy_stream_ros.announce import DebugOutput, MaskOutput, MessageSink, Unrectified
from henasy_stream_ros.fill import element

from henasy_stream.ros import fields as ros_fields
from henasy_stream.ros.fields import Fields
from henasy_stream.ros.interfaces import fields as interface
from henasy_stream.ros.topics import CAPTION, DEBUG_IMAGE, DETECTIONS, MASKS, TRACKS, Topic
from henasy_stream.sinks.builder import MessageBuilder
from henasy_stream.types import Caption, Frame, Masks, ModelSpec, Perception, Track
from tests.ros2.test_rectify import taught

SPEC = ModelSpec(
    model_id="m",
    image_size=32,
    num_frames=4,
    span_s=1.0,
    embed_dim=8,
    capabilities=frozenset({"entities", "caption"}),
)


class Kept:
    """Ports that keep what is published."""

    def __init__(self, *listened: Topic) -> None:
        self.listened = set(listened)
        self.contents: list[tuple[Topic, Fields]] = []

    def publish(self, topic: Topic, content: Fields) -> None:
        self.contents.append((topic, content))

    def listeners(self, topic: Topic) -> int:
        return int(topic in self.listened)

    def of(self, topic: Topic) -> list[Fields]:
        return [content for name, content in self.contents if name == topic]


def perception(*, fresh: bool = True, size: tuple[int, int] = (240, 320)) -> Perception:
    height, width = size
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    frame = Frame(image=picture, stamp_ns=12 * 10**9 + 34, index=7, source="/image", frame_id="head", clock="unix")
    track = Track(
        id=3, label="cup", label_index=0, label_score=0.9, score=0.8, state="tracked", mask_index=1,
        box_xyxy=(10.0, 20.0, 50.0, 60.0), first_seen_ns=1, last_seen_ns=2,
    )  # fmt: skip
    probability = np.zeros((1, 24, 32), np.float32)
    probability[0, 6:12, 8:16] = 0.9
    masks = Masks(probability=probability, to_source=np.array([[width / 32, 0, 0], [0, height / 24, 0]]))
    caption = Caption(segment_id=1, text="take cup", score=0.5, start_ns=1, end_ns=2, final=False)
    return Perception(
        frame=frame, stamp_ns=frame.stamp_ns, window_start_ns=1, window_end_ns=2, tracks=(track,), caption=caption,
        masks=masks, fresh=fresh,
    )  # fmt: skip


def header(content: Fields) -> tuple[int, int, str]:
    return content["header"]["stamp"]["sec"], content["header"]["stamp"]["nanosec"], content["header"]["frame_id"]


def test_results_go_to_whoever_listens_and_under_the_image_s_header():
    ports = Kept(TRACKS, DETECTIONS, CAPTION)
    sink = MessageSink(ports)
    sink.send(MessageBuilder(SPEC).perception(perception()))
    assert Counter(topic for topic, _ in ports.contents) == Counter([TRACKS, DETECTIONS, CAPTION])
    for _, content in ports.contents:
        assert header(content) == (12, 34, "head")
    assert ports.of(TRACKS)[0]["tracks"][0]["id"] == 3


@pytest.mark.parametrize("topic", [TRACKS, DETECTIONS, CAPTION])
def test_what_nobody_listens_to_is_not_made(topic, monkeypatch):
    def fail(message: Any) -> Fields:
        raise AssertionError("made")

    for name, of in (("tracks_fields", TRACKS), ("detections_fields", DETECTIONS), ("caption_fields", CAPTION)):
        if of == topic:
            monkeypatch.setattr(ros_fields, name, fail)
    listened = {TRACKS, DETECTIONS, CAPTION} - {topic}
    ports = Kept(*listened)
    MessageSink(ports).send(MessageBuilder(SPEC).perception(perception()))
    assert {name for name, _ in ports.contents} == listened


def test_masks_are_of_the_frame_s_size_and_lazy():
    ports = Kept()
    output = MaskOutput(ports)
    output.write(perception())
    assert ports.contents == []
    ports.listened.add(MASKS)
    output.write(perception(fresh=False))
    assert ports.contents == []
    output.write(perception())
    (content,) = ports.of(MASKS)
    assert header(content) == (12, 34, "head")
    assert (content["encoding"], content["width"], content["height"], content["step"]) == ("mono8", 320, 240, 320)
    index = np.frombuffer(content["data"], np.uint8).reshape(240, 320)
    expected = np.zeros_like(index)
    expected[60:120, 80:160] = 1
    np.testing.assert_array_equal(index, expected)


def test_masks_of_rectified_pictures_come_back():
    rectifier = taught("plumb_bob")
    rectifier.apply(np.zeros((240, 320, 3), np.uint8))
    ports = Kept(MASKS)
    MaskOutput(ports, rectifier).write(perception())
    index = np.frombuffer(ports.of(MASKS)[0]["data"], np.uint8).reshape(240, 320)
    plain = np.zeros_like(index)
    plain[60:120, 80:160] = 1
    np.testing.assert_array_equal(index, rectifier.index_back(plain))
    assert not np.array_equal(index, plain)


def test_boxes_of_rectified_pictures_come_back():
    rectifier = taught("plumb_bob")
    rectifier.apply(np.zeros((240, 320, 3), np.uint8))
    written: list[Perception] = []

    class Output:
        closed = False

        def write(self, perception: Perception) -> None:
            written.append(perception)

        def close(self) -> None:
            self.closed = True

    output = Output()
    between = Unrectified(output, rectifier)
    between.write(perception())
    assert written[0].tracks == rectifier.back(perception()).tracks != perception().tracks
    between.close()
    assert output.closed


def test_the_debug_picture_is_lazy_and_rate_limited():
    ports, now = Kept(), [100.0]
    output = DebugOutput(ports, rate=5.0, quality=50, monotonic=lambda: now[0])
    output.write(perception())
    assert ports.contents == []
    ports.listened.add(DEBUG_IMAGE)
    for _ in range(30):  # a second at 30 a second
        output.write(perception())
        now[0] += 1 / 30
    assert len(ports.contents) in (5, 6)
    content = ports.of(DEBUG_IMAGE)[0]
    assert header(content) == (12, 34, "head")
    assert "jpeg" in content["format"]
    picture = cv2.imdecode(np.frombuffer(content["data"], np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (240, 320, 3)
    ports.contents.clear()
    output.rate, output.quality = 30.0, 5
    now[0] += 1
    output.write(perception())
    assert len(ports.contents[0][1]["data"]) < len(content["data"])


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("std_msgs/Header", "std_msgs/Header"),
        ("sequence<henasy_msgs/EntityTrack>", "henasy_msgs/EntityTrack"),
        ("sequence<henasy_msgs/EntityTrack, 8>", "henasy_msgs/EntityTrack"),
        ("geometry_msgs/Point[3]", "geometry_msgs/Point"),
        ("sequence<uint8>", "uint8"),
        ("float[4]", "float"),
        ("string", "string"),
    ],
)
def test_what_is_inside_a_type(name, inside):
    assert element(name) == inside


def check(content: Any, name: str) -> None:
    """Every field that is filled is one of the definition, and nothing is left out."""
    known = {field.name: field for field in interface(name)}
    assert set(content) == set(known)
    for key, value in content.items():
        field = known[key]
        if field.is_message:
            for item in value if field.size is not None else [value]:
                check(item, field.type)


def test_contents_have_the_fields_of_their_messages():
    ports = Kept(TRACKS, DETECTIONS, CAPTION, MASKS, DEBUG_IMAGE)
    MessageSink(ports).send(MessageBuilder(SPEC).perception(perception()))
    MaskOutput(ports).write(perception())
    DebugOutput(ports, rate=1, quality=80).write(perception())
    assert {topic for topic, _ in ports.contents} == ports.listened
    for topic, content in ports.contents:
        check(content, topic.type)
