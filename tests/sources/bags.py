"""Bags for the tests, written by the package rosbags, which is not what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from henasy_stream.types import UInt8Array

SECOND = 1_000_000_000
START_NS = 1_700_000_000 * SECOND
PERIOD_NS = SECOND // 10


def picture(index: int, width: int = 16, height: int = 12) -> UInt8Array:
    """Of one brightness, 8 * index, with a red left half."""
    image = np.full((height, width, 3), 8 * index % 256, np.uint8)
    image[:, : width // 2, 0] = 255
    return image


@dataclass(kw_only=True)
class Sent:
    """An image to record.  `stamp_ns` None: a zero stamp in the header."""

    image: UInt8Array | bytes
    stamp_ns: int | None
    logged_ns: int
    encoding: str = "rgb8"
    topic: str = "/camera/image_raw"
    frame_id: str = "head"
    changes: dict[str, Any] = field(default_factory=dict)


def regular(count: int, **changes: Any) -> list[Sent]:
    """Images ten times a second; each gets to the recorder 5 ms after it was taken."""
    return [
        Sent(
            image=picture(i),
            stamp_ns=START_NS + i * PERIOD_NS,
            logged_ns=START_NS + i * PERIOD_NS + 5_000_000,
            **changes,
        )
        for i in range(count)
    ]


def write_bag(
    folder: Path,
    sent: Sequence[Sent],
    *,
    storage: Literal["sqlite3", "mcap"] = "mcap",
    compression: Literal["none", "file", "message", "storage"] = "none",
) -> Path:
    """A rosbag2 folder with the images, and an /imu topic beside them."""
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS2_JAZZY)
    writer = Writer(folder, version=9, storage_plugin=StoragePlugin[storage.upper()])
    if compression != "none":
        writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    with writer:
        imu = writer.add_connection("/imu", "std_msgs/msg/String", typestore=types)
        string = types.types["std_msgs/msg/String"](data="not an image")
        connections: dict[str, Any] = {}
        for one in sent:
            kind, message = _message(types, one)
            if one.topic not in connections:
                connections[one.topic] = writer.add_connection(one.topic, kind, typestore=types)
            writer.write(connections[one.topic], one.logged_ns, types.serialize_cdr(message, kind))
            writer.write(imu, one.logged_ns, types.serialize_cdr(string, "std_msgs/msg/String"))
    return folder


def _message(types: Any, sent: Sent) -> tuple[str, Any]:
    stamp_ns = sent.stamp_ns or 0
    stamp = types.types["builtin_interfaces/msg/Time"](sec=stamp_ns // SECOND, nanosec=stamp_ns % SECOND)
    header = types.types["std_msgs/msg/Header"](stamp=stamp, frame_id=sent.frame_id)
    if isinstance(sent.image, bytes):
        kind = "sensor_msgs/msg/CompressedImage"
        data = np.frombuffer(sent.image, np.uint8)
        return kind, types.types[kind](header=header, format=sent.encoding, data=data)
    kind = "sensor_msgs/msg/Image"
    height, width = sent.image.shape[:2]
    values = {
        "height": height,
        "width": width,
        "encoding": sent.encoding,
        "is_bigendian": 0,
        "step": sent.image.nbytes // height,
        "data": np.ascontiguousarray(sent.image).reshape(-1),
        **sent.changes,
    }
    return kind, types.types[kind](header=header, **values)
