"""Messages of ROS 2 out of the bytes of a record, by the package rosbags."""

from __future__ import annotations

from typing import Any

from henasy_stream.ros import interfaces
from henasy_stream.sources.bag_files import Record, needed, unpacked_message

DETECTIONS = "vision_msgs/msg/Detection2DArray"


class NoMessage(ValueError):  # noqa: N818 - says what the bytes are
    """Bytes that are not the message that their topic promises."""


class Decoder:
    """Decodes messages of ROS's own packages and vision_msgs, by their definitions since Humble.

    Raises:
        UserError: the package rosbags is not installed.
    """

    def __init__(self) -> None:
        try:
            from rosbags.typesys import Stores, get_types_from_msg, get_typestore
        except ImportError as error:
            raise needed(error) from error
        self._types = get_typestore(Stores.ROS2_HUMBLE)
        for name in (DETECTIONS, *interfaces.parts(DETECTIONS)):
            if name not in self._types.types:
                self._types.register(get_types_from_msg(_definition(name), name))

    def __call__(self, record: Record, type_name: str) -> Any:
        """The message of a record, with the fields of its type.

        Raises:
            NoMessage: the bytes are none.
        """
        try:
            return self._types.deserialize_cdr(unpacked_message(record.data), type_name)
        except Exception as error:  # bytes that are no message make the decoder fail in any way
            raise NoMessage(f"a message is no {type_name} ({type(error).__name__})") from error


def stamp_of(header: Any) -> int:
    """The stamp of a `std_msgs/msg/Header` in nanoseconds, 0 where it has none."""
    return max(0, header.stamp.sec * 1_000_000_000 + header.stamp.nanosec)


def _definition(name: str) -> str:
    lines = []
    for field in interfaces.fields(name):
        count = "" if field.size is None else f"[{field.size or ''}]"
        lines.append(f"{field.type}{count} {field.name}")
    return "\n".join(lines)
