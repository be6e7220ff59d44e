"""Boxes of the user's own detector: vision_msgs/Detection2DArray as entities from outside.

Free of ROS: messages are whatever has the fields.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from henasy_stream.sinks.incoming import MOST_ENTITIES
from henasy_stream.stream.outside import MOST_WAITING
from henasy_stream.types import Box, EntityBox, EntityBoxes, Frame
from henasy_stream_ros.stamps import BILLION

MOST_LABEL = 200


def boxes_of(message: Any) -> EntityBoxes:
    """The boxes of a message, those that are likeliest where they are more than `MOST_ENTITIES`.

    A detection's label is the `class_id` of its best result.  A box with an angle becomes the one around it.

    Raises:
        ValueError: it has no stamp, so that it belongs to no image, or a number in it is none.
    """
    stamp = message.header.stamp
    ns = stamp.sec * BILLION + stamp.nanosec
    if ns <= 0:
        raise ValueError("boxes have no stamp: give the header of the image that they were found in")
    found = [_entity(detection) for detection in message.detections]
    best = sorted(found, key=lambda entity: -entity.score)[:MOST_ENTITIES]
    return EntityBoxes(stamp_ns=ns, boxes=tuple(best))


def _entity(detection: Any) -> EntityBox:
    results = [(float(r.hypothesis.score), str(r.hypothesis.class_id)) for r in detection.results]
    score, label = max(results, default=(1.0, ""), key=lambda result: result[0])
    if not math.isfinite(score):
        raise ValueError(f"a score is {score}")
    return EntityBox(label=label[:MOST_LABEL], box_xyxy=_box(detection.bbox), score=min(max(score, 0.0), 1.0))


def _box(bbox: Any) -> Box:
    x, y = float(bbox.center.position.x), float(bbox.center.position.y)
    width, height, theta = float(bbox.size_x), float(bbox.size_y), float(bbox.center.theta)
    if not all(map(math.isfinite, (x, y, width, height, theta))) or width < 0 or height < 0:
        raise ValueError(f"a box is {width} x {height} at {x}, {y}, which is none")
    cos, sin = abs(math.cos(theta)), abs(math.sin(theta))
    half_w, half_h = (width * cos + height * sin) / 2, (width * sin + height * cos) / 2
    return x - half_w, y - half_h, x + half_w, y + half_h


class DetectionFeed:
    """An `EntityFeed` between the executor, which calls `put`, and the worker, which takes what came.

    Args:
        topic: for messages.
    """

    def __init__(self, topic: str) -> None:
        self.malformed = 0
        self.received = 0
        self._topic = topic
        self._waiting: deque[EntityBoxes] = deque(maxlen=MOST_WAITING)
        self._notices: list[str] = []
        self._lock = threading.Lock()

    @property
    def notices(self) -> Sequence[str]:
        """Remarks for the user since the last call."""
        with self._lock:
            told, self._notices = self._notices, []
        return told

    def put(self, message: Any) -> None:
        """Takes a message; one that makes no sense is counted and the first is told."""
        self.received += 1
        try:
            boxes = boxes_of(message)
        except ValueError as error:
            self.malformed += 1
            if self.malformed == 1:
                with self._lock:
                    self._notices.append(f"{self._topic}: {error}; such messages are passed over and counted")
            return
        self._waiting.append(boxes)

    def take(self, frame: Frame) -> Sequence[EntityBoxes]:
        """What has come since the last call."""
        taken = []
        while self._waiting:
            taken.append(self._waiting.popleft())
        return taken

    def close(self) -> None:
        """Forgets what waits."""
        self._waiting.clear()
