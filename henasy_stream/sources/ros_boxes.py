"""Boxes of a detector out of ROS's `vision_msgs/Detection2DArray`, from whatever has its fields: no ROS."""

from __future__ import annotations

import math
from typing import Any

from henasy_stream.sinks.incoming import MOST_ENTITIES
from henasy_stream.types import Box, EntityBox

MOST_LABEL = 200


def boxes_of(message: Any) -> tuple[EntityBox, ...]:
    """The boxes of a message, at most 64, the surest.

    A detection's label is the `class_id` of its best result, its score that result's, cut to 0..1; without a result it
    has no label and the score 1.  A box that is turned becomes the upright one around it.

    Raises:
        ValueError: a number in it is not finite, or a size is negative.
    """
    found = [_entity(detection) for detection in message.detections]
    return tuple(sorted(found, key=lambda entity: -entity.score)[:MOST_ENTITIES])


def _entity(detection: Any) -> EntityBox:
    results = [(float(result.hypothesis.score), str(result.hypothesis.class_id)) for result in detection.results]
    for score, _ in results:
        if not math.isfinite(score):
            raise ValueError(f"a score is {score}")
    score, label = max(results, default=(1.0, ""))
    return EntityBox(label=label[:MOST_LABEL], box_xyxy=_box(detection.bbox), score=min(max(score, 0.0), 1.0))


def _box(bbox: Any) -> Box:
    x, y, angle = float(bbox.center.position.x), float(bbox.center.position.y), float(bbox.center.theta)
    width, height = float(bbox.size_x), float(bbox.size_y)
    if not all(map(math.isfinite, (x, y, angle, width, height))) or width < 0 or height < 0:
        raise ValueError(f"a box is {width} x {height} at {x}, {y}, which is none")
    along, across = abs(math.cos(angle)), abs(math.sin(angle))
    half_width = (width * along + height * across) / 2
    half_height = (width * across + height * along) / 2
    return x - half_width, y - half_height, x + half_width, y + half_height
