"""Boxes of vision_msgs/Detection2DArray become entities from outside."""

from __future__ import annotations

import math
from types import SimpleNamespace as Fields
from typing import Any

import numpy as np
import pytest
from henasy_stream_ros.detections import DetectionFeed, boxes_of
from hypothesis import given
from hypothesis import strategies as st

from henasy_stream.sinks.incoming import MOST_ENTITIES
from henasy_stream.types import Frame

FRAME = Frame(image=np.zeros((2, 2, 3), np.uint8), stamp_ns=0, index=0, source="s")


def detection(x: float, y: float, w: float, h: float, *results: tuple[str, float], theta: float = 0.0) -> Any:
    centre = Fields(position=Fields(x=x, y=y), theta=theta)
    found = [Fields(hypothesis=Fields(class_id=label, score=score)) for label, score in results]
    return Fields(bbox=Fields(center=centre, size_x=w, size_y=h), results=found)


def message(*detections: Any, sec: int = 5, nanosec: int = 7) -> Any:
    return Fields(header=Fields(stamp=Fields(sec=sec, nanosec=nanosec)), detections=list(detections))


def test_centre_and_size_become_corners_and_the_best_result_the_label():
    found = boxes_of(message(detection(50, 40, 20, 10, ("plate", 0.2), ("cup", 0.7))))
    assert found.stamp_ns == 5_000_000_007
    (entity,) = found.boxes
    assert (entity.label, entity.score, entity.box_xyxy) == ("cup", 0.7, (40.0, 35.0, 60.0, 45.0))


def test_nothing_found_is_told_too():
    assert boxes_of(message()).boxes == ()


def test_a_box_without_a_result_has_no_name():
    (entity,) = boxes_of(message(detection(5, 5, 2, 2))).boxes
    assert (entity.label, entity.score) == ("", 1.0)


@given(theta=st.floats(-10, 10), w=st.floats(0, 100), h=st.floats(0, 100))
def test_a_turned_box_lies_within_the_one_around_it(theta, w, h):
    (entity,) = boxes_of(message(detection(0, 0, w, h, ("a", 1), theta=theta))).boxes
    x0, y0, x1, y1 = entity.box_xyxy
    for sx in (-1, 1):
        for sy in (-1, 1):
            x = sx * w / 2 * math.cos(theta) - sy * h / 2 * math.sin(theta)
            y = sx * w / 2 * math.sin(theta) + sy * h / 2 * math.cos(theta)
            assert x0 - 1e-6 <= x <= x1 + 1e-6
            assert y0 - 1e-6 <= y <= y1 + 1e-6


def test_of_too_many_the_likeliest_stay():
    many = [detection(i, i, 1, 1, (str(i), i / 1000)) for i in range(MOST_ENTITIES + 10)]
    found = boxes_of(message(*many))
    assert len(found.boxes) == MOST_ENTITIES
    assert min(int(entity.label) for entity in found.boxes) == 10


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (message(detection(math.nan, 0, 1, 1)), "a box is"),
        (message(detection(0, 0, -1, 1)), "a box is"),
        (message(detection(0, 0, 1, math.inf)), "a box is"),
        (message(detection(0, 0, 1, 1, ("a", math.nan))), "a score is nan"),
        (message(detection(0, 0, 1, 1), sec=0, nanosec=0), "no stamp"),
        (message(sec=-4), "no stamp"),
    ],
)
def test_what_makes_no_sense_is_counted_and_told_once(bad, says):
    feed = DetectionFeed("/boxes")
    feed.put(bad)
    feed.put(bad)
    feed.put(message(detection(1, 1, 2, 2, ("cup", 2.0))))
    assert (feed.received, feed.malformed) == (3, 2)
    (notice,) = feed.notices
    assert says in notice
    assert feed.notices == []
    (boxes,) = feed.take(FRAME)
    assert boxes.boxes[0].score == 1.0, "a score over 1 is 1"
    assert feed.take(FRAME) == []
    feed.put(message())
    feed.close()
    assert feed.take(FRAME) == []
