"""The rosbags package's view of our messages: another parser, another encoder, none of our code."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from henasy_stream.ros.interfaces import PRIMITIVES, Field, fields, names

MESSAGES = Path(__file__).parents[2] / "ros2_ws/src/henasy_msgs/msg"
SERVICES = MESSAGES.parent / "srv"

VISION_MSGS = {
    "Point2D": "float64 x\nfloat64 y",
    "Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": "ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose",
    "Detection2D": "std_msgs/Header header\nObjectHypothesisWithPose[] results\nBoundingBox2D bbox\nstring id",
    "Detection2DArray": "std_msgs/Header header\nDetection2D[] detections",
    "VisionClass": "uint16 class_id\nstring class_name",
    "LabelInfo": "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold",
    "VisionInfo": "std_msgs/Header header\nstring method\nstring database_location\nint32 database_version",
}
"""vision_msgs 4.1, which rosbags does not bring."""

_NUMPY = {"byte": "uint8", "bool": "bool"}


@cache
def typestore(distribution: Stores = Stores.ROS2_JAZZY) -> Any:
    """What a ROS 2 distribution knows, vision_msgs, and our messages from their files."""
    store = get_typestore(distribution)
    for name, text in VISION_MSGS.items():
        store.register(get_types_from_msg(text, f"vision_msgs/msg/{name}"))
    for path in sorted(MESSAGES.glob("*.msg")):
        store.register(get_types_from_msg(path.read_text(encoding="utf-8"), f"henasy_msgs/msg/{path.stem}"))
    return store


def as_rosbags(name: str, values: dict[str, Any]) -> Any:
    """Our dictionary of fields as an object of rosbags."""
    return typestore().types[name](**{f.name: _one_field(f, values[f.name]) for f in fields(name)})


def values_of(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Any content that a message can have."""
    return st.fixed_dictionaries({f.name: _values(f) for f in fields(name)})


any_message: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.sampled_from(names()).flatmap(
    lambda name: st.tuples(st.just(name), values_of(name))
)


def _one_field(field: Field, value: Any) -> Any:
    if field.size is None:
        return as_rosbags(field.type, value) if field.is_message else value
    if field.is_message:
        return [as_rosbags(field.type, one) for one in value]
    if field.type == "string":
        return list(value)
    return np.array(list(value), dtype=_NUMPY.get(field.type, field.type))


def _values(field: Field) -> st.SearchStrategy[Any]:
    one = values_of(field.type) if field.is_message else _primitive(field.type)
    if field.size is None:
        return one
    return st.lists(one, min_size=field.size, max_size=field.size or 3)


def _primitive(kind: str) -> st.SearchStrategy[Any]:
    assert kind in PRIMITIVES
    if kind == "string":
        return st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)
    if kind == "bool":
        return st.booleans()
    if kind.startswith("float"):
        return st.floats(width=32 if kind == "float32" else 64)
    # rosbags takes a byte from 128 on for a negative number; the levels that we send end at 3.
    bits, signed = (7, False) if kind == "byte" else (int(kind.lstrip("uint")), not kind.startswith("u"))
    low = -(2 ** (bits - 1)) if signed else 0
    return st.integers(low, low + 2**bits - 1)
