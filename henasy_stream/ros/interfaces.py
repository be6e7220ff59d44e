"""The ROS 2 message definitions that we publish, and a reader of such definitions.

Comments and constants, which are on no wire, are left out: `ros2_ws/src/henasy_msgs` has ours in full, and a test keeps
the two in step.  The others are the same in Humble, Jazzy and Kilted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

PRIMITIVES = frozenset(
    {"bool", "byte", "float32", "float64", "int32", "int64", "string", "uint8", "uint16", "uint32", "uint64"}
)
"""Of ROS's, those that our messages use."""

_FIELD = re.compile(r"(?P<type>[A-Za-z][\w/]*)(?:\[(?P<size>\d*)\])? (?P<name>[a-z][a-z0-9_]*)")

_DEFINITIONS = {
    "builtin_interfaces/msg/Time": "int32 sec; uint32 nanosec",
    "std_msgs/msg/Header": "builtin_interfaces/Time stamp; string frame_id",
    "geometry_msgs/msg/Point": "float64 x; float64 y; float64 z",
    "geometry_msgs/msg/Quaternion": "float64 x; float64 y; float64 z; float64 w",
    "geometry_msgs/msg/Pose": "Point position; Quaternion orientation",
    "geometry_msgs/msg/PoseWithCovariance": "Pose pose; float64[36] covariance",
    "diagnostic_msgs/msg/KeyValue": "string key; string value",
    "diagnostic_msgs/msg/DiagnosticStatus": (
        "byte level; string name; string message; string hardware_id; KeyValue[] values"
    ),
    "diagnostic_msgs/msg/DiagnosticArray": "std_msgs/Header header; DiagnosticStatus[] status",
    "sensor_msgs/msg/Image": (
        "std_msgs/Header header; uint32 height; uint32 width; string encoding; uint8 is_bigendian; uint32 step; "
        "uint8[] data"
    ),
    "sensor_msgs/msg/CompressedImage": "std_msgs/Header header; string format; uint8[] data",
    "vision_msgs/msg/Point2D": "float64 x; float64 y",
    "vision_msgs/msg/Pose2D": "Point2D position; float64 theta",
    "vision_msgs/msg/BoundingBox2D": "Pose2D center; float64 size_x; float64 size_y",
    "vision_msgs/msg/ObjectHypothesis": "string class_id; float64 score",
    "vision_msgs/msg/ObjectHypothesisWithPose": ("ObjectHypothesis hypothesis; geometry_msgs/PoseWithCovariance pose"),
    "vision_msgs/msg/Detection2D": (
        "std_msgs/Header header; ObjectHypothesisWithPose[] results; BoundingBox2D bbox; string id"
    ),
    "vision_msgs/msg/Detection2DArray": "std_msgs/Header header; Detection2D[] detections",
    "vision_msgs/msg/VisionClass": "uint16 class_id; string class_name",
    "vision_msgs/msg/LabelInfo": "std_msgs/Header header; VisionClass[] class_map; float32 threshold",
    "vision_msgs/msg/VisionInfo": (
        "std_msgs/Header header; string method; string database_location; int32 database_version"
    ),
    "henasy_msgs/msg/StreamInfo": (
        "string session; uint64 seq; uint64 frame_index; uint8 clock; uint8 stamp_source; "
        "builtin_interfaces/Time published; builtin_interfaces/Time window_start; builtin_interfaces/Time window_end; "
        "string source; string reset"
    ),
    "henasy_msgs/msg/Hypothesis": "string text; float32 score",
    "henasy_msgs/msg/EntityTrack": (
        "uint64 id; string label; int32 label_index; float32 label_score; float32 score; uint8 state; "
        "float32[4] box_xyxy; uint8 mask_index; builtin_interfaces/Time first_seen; "
        "builtin_interfaces/Time last_seen; Hypothesis[] hypotheses; string query; float32[] embedding"
    ),
    "henasy_msgs/msg/SceneRelation": (
        "uint64 subject_id; string predicate; uint64 object_id; float32 score; builtin_interfaces/Time start"
    ),
    "henasy_msgs/msg/QueryAnswer": (
        "string text; uint8 kind; bool present; float32 score; bool calibrated; uint64[] track_ids; "
        "float32[] track_scores"
    ),
    "henasy_msgs/msg/EntityTrackArray": (
        "std_msgs/Header header; StreamInfo info; uint32 width; uint32 height; EntityTrack[] tracks; "
        "SceneRelation[] relations; QueryAnswer[] queries"
    ),
    "henasy_msgs/msg/ActionCaption": (
        "std_msgs/Header header; StreamInfo info; uint64 segment_id; string text; float32 score; "
        "builtin_interfaces/Time start; builtin_interfaces/Time end; bool final; uint64[] track_ids; "
        "Hypothesis[] alternatives; QueryAnswer[] queries"
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One field of a message.

    `type` is a primitive of ROS or the full name of a message.  `size`: None for a single value, 0 for a sequence of
    any length, else the length of a fixed array.
    """

    name: str
    type: str
    size: int | None = None

    @property
    def is_message(self) -> bool:
        """Whether the type is a message, not a primitive."""
        return self.type not in PRIMITIVES


@cache
def fields(name: str) -> tuple[Field, ...]:
    """The fields of a message, in their order.

    Args:
        name: such as `henasy_msgs/msg/EntityTrack`.

    Raises:
        KeyError: it is none of those that we publish.
    """
    return tuple(parse(_DEFINITIONS[name], package=name.partition("/")[0]))


def parse(definition: str, *, package: str) -> Iterator[Field]:
    """The fields of a definition in ROS's notation, separated by semicolons or line breaks.

    Args:
        definition: without comments and constants.
        package: that types without one belong to.

    Raises:
        ValueError: something in it is no field, or of a type that a single field of ours never has.
    """
    for text in filter(None, map(str.strip, re.split(r"[;\n]", definition))):
        match = _FIELD.fullmatch(text)
        if match is None:
            raise ValueError(
                f"{text!r} is not a field of a ROS message: write `type name`, `type[] name` or `type[4] name`"
            )
        size = match["size"]
        yield Field(
            name=match["name"],
            type=_full_name(match["type"], package),
            size=None if size is None else int(size or 0),
        )


def names() -> tuple[str, ...]:
    """The full names of all messages that we know."""
    return tuple(_DEFINITIONS)


def parts(name: str) -> tuple[str, ...]:
    """The full names of all messages inside a message, at any depth, sorted, itself not included."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        inner = {f.type for f in fields(waiting.pop()) if f.is_message} - found
        found |= inner
        waiting += inner
    return tuple(sorted(found))


def _full_name(name: str, package: str) -> str:
    if name in PRIMITIVES:
        return name
    home, separator, message = name.rpartition("/")
    return f"{home}/msg/{message}" if separator else f"{package}/msg/{name}"
