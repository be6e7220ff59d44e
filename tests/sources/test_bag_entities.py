"""Boxes of a detector from a bag, written by the package rosbags."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from henasy_stream.errors import UserError
from henasy_stream.sources.entities import open_entities
from henasy_stream.types import EntityBox, Frame
from tests.sources.bags import SECOND, START_NS

pytest.importorskip("rosbags", reason="the extra bag is not installed")
pytest.importorskip("mcap", reason="the extra bag is not installed")

# As they stand in vision_msgs for Humble and Jazzy, comments left out.
DEFINITIONS = {
    "vision_msgs/msg/Point2D": "float64 x\nfloat64 y",
    "vision_msgs/msg/Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "vision_msgs/msg/BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score",
    "vision_msgs/msg/ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose"
    ),
    "vision_msgs/msg/Detection2D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\nvision_msgs/BoundingBox2D bbox\n"
        "string id"
    ),
    "vision_msgs/msg/Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections",
}


def write(folder: Path, found: Sequence[tuple[int | None, Sequence[float]]], topic: str = "/detections") -> Path:
    """A bag of messages at these stamps (None: zero), each with a cup of 10 x 20 pixels at these x; logged in order."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    types = get_typestore(Stores.ROS2_JAZZY)
    for name, text in DEFINITIONS.items():
        types.register(get_types_from_msg(text, name))

    def make(name: str, **values: Any) -> Any:
        return types.types[name](**values)

    point = make("geometry_msgs/msg/Point", x=0.0, y=0.0, z=0.0)
    turn = make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
    pose = make("geometry_msgs/msg/Pose", position=point, orientation=turn)
    pose = make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36))
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(topic, "vision_msgs/msg/Detection2DArray", typestore=types)
        for i, (stamp_ns, places) in enumerate(found):
            sec, nanosec = divmod(stamp_ns or 0, SECOND)
            stamp = make("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)
            header = make("std_msgs/msg/Header", stamp=stamp, frame_id="head")
            cup = make("vision_msgs/msg/ObjectHypothesis", class_id="cup", score=0.5)
            detections = [
                make(
                    "vision_msgs/msg/Detection2D",
                    header=header,
                    results=[make("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=cup, pose=pose)],
                    bbox=make(
                        "vision_msgs/msg/BoundingBox2D",
                        center=make(
                            "vision_msgs/msg/Pose2D",
                            position=make("vision_msgs/msg/Point2D", x=float(x), y=100.0),
                            theta=0.0,
                        ),
                        size_x=10.0,
                        size_y=20.0,
                    ),
                    id="7",
                )
                for x in places
            ]
            message = make("vision_msgs/msg/Detection2DArray", header=header, detections=detections)
            data = types.serialize_cdr(message, "vision_msgs/msg/Detection2DArray")
            writer.write(connection, START_NS + i * SECOND, data)
    return folder


def frame(seconds: float) -> Frame:
    stamp_ns = START_NS + round(seconds * SECOND)
    return Frame(image=np.zeros((1, 1, 3), np.uint8), stamp_ns=stamp_ns, index=0, source="test")


def test_each_message_comes_once_with_its_frame(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", [(START_NS + i * SECOND, [50 + i] * (i % 3)) for i in range(6)])
    feed = open_entities(f"bag:{bag}")
    taken = [[(e.stamp_ns - START_NS) // SECOND for e in feed.take(frame(t))] for t in (2, 2.2, 2.6, 6)]
    assert taken == [[2], [], [3], [4, 5]]
    (boxes,) = feed.take(frame(1))  # back: read again from there
    assert boxes.boxes == (EntityBox(label="cup", box_xyxy=(46.0, 90.0, 56.0, 110.0), score=0.5),)
    assert not feed.notices
    feed.close()


def test_no_stamp_and_no_number(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", [(None, [5]), (START_NS + SECOND, [math.nan]), (None, [])])
    feed = open_entities(f"bag:{bag}?topic=/detections")
    taken = [e for t in range(4) for e in feed.take(frame(t))]
    assert [(e.stamp_ns, len(e.boxes)) for e in taken] == [(START_NS, 1), (START_NS + 2 * SECOND, 0)]
    assert feed.malformed == 1
    (notice,) = feed.notices
    assert "a box is 10.0 x 20.0 at nan, 100.0, which is none; such messages are passed over" in notice
    assert not feed.notices


def test_a_topic_that_does_not_fit(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", [(START_NS, [])])
    with pytest.raises(UserError, match=r"no topic /camera; its topics are: /detections \(vision_msgs"):
        open_entities(f"bag:{bag}?topic=/camera")
    with pytest.raises(UserError, match="no such file"):
        open_entities(f"bag:{tmp_path}/nowhere")
