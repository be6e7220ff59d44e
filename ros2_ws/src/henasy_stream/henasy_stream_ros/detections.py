"""Boxes of the user's own detector: vision_msgs/Detection2DArray as entities from outside.

Free of ROS: messages are whatever has the fields.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from henasy_stream.sources import ros_boxes
from henasy_stream.stream.outside import MOST_WAITING
from henasy_stream.types import EntityBoxes, Frame
from henasy_stream_ros.stamps import BILLION


def boxes_of(message: Any) -> EntityBoxes:
    """The boxes of a message; `henasy_stream.sources.ros_boxes` says which.

    Raises:
        ValueError: it has no stamp, so that it belongs to no image, or a number in it is none.
    """
    stamp = message.header.stamp
    ns = stamp.sec * BILLION + stamp.nanosec
    if ns <= 0:
        raise ValueError("boxes have no stamp: give the header of the image that they were found in")
    return EntityBoxes(stamp_ns=ns, boxes=ros_boxes.boxes_of(message))


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
