"""A detector's boxes out of ROS's message."""

from __future__ import annotations

import math
from types import SimpleNamespace as Message
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from henasy_stream.sources.ros_boxes import boxes_of
from henasy_stream.types import EntityBox

numbers = st.floats(-1e4, 1e4)
sizes = st.floats(0, 1e4)


def detection(
    x: float, y: float, width: float, height: float, angle: float = 0.0, results: tuple[tuple[str, float], ...] = ()
) -> Any:
    centre = Message(position=Message(x=x, y=y), theta=angle)
    found = [Message(hypothesis=Message(class_id=label, score=score)) for label, score in results]
    return Message(bbox=Message(center=centre, size_x=width, size_y=height), results=found)


def boxes(*detections: Any) -> tuple[EntityBox, ...]:
    return boxes_of(Message(detections=detections))


def test_centre_and_size_become_corners_and_the_best_result_the_label() -> None:
    (box,) = boxes(detection(100, 50, 20, 10, results=(("cup", 0.25), ("mug", 0.75), ("pot", 0.5))))
    assert box == EntityBox(label="mug", box_xyxy=(90.0, 45.0, 110.0, 55.0), score=0.75)


def test_without_a_result() -> None:
    assert boxes(detection(1, 1, 2, 2)) == (EntityBox(label="", box_xyxy=(0.0, 0.0, 2.0, 2.0)),)
    assert boxes() == ()


@settings(deadline=None)
@given(numbers, numbers, sizes, sizes, st.floats(-7, 7))
def test_the_upright_box_holds_the_turned_one_and_no_more(
    x: float, y: float, width: float, height: float, angle: float
) -> None:
    (box,) = boxes(detection(x, y, width, height, angle))
    corners = [
        (
            x + a * width / 2 * math.cos(angle) - b * height / 2 * math.sin(angle),
            y + a * width / 2 * math.sin(angle) + b * height / 2 * math.cos(angle),
        )
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    xs, ys = zip(*corners, strict=True)
    assert box.box_xyxy == pytest.approx((min(xs), min(ys), max(xs), max(ys)), abs=1e-6)


@settings(deadline=None)
@given(st.lists(st.floats(-2, 3), max_size=80))
def test_at_most_64_the_surest_with_scores_that_are_probabilities(scores: list[float]) -> None:
    found = boxes(*(detection(0, 0, 1, 1, results=(("cup", score),)) for score in scores))
    wanted = sorted((min(max(score, 0.0), 1.0) for score in scores), reverse=True)[:64]
    assert [box.score for box in found] == wanted


@pytest.mark.parametrize(
    "wrong",
    [
        detection(math.nan, 0, 1, 1),
        detection(0, 0, math.inf, 1),
        detection(0, 0, 1, 1, math.nan),
        detection(0, 0, -1, 1),
        detection(0, 0, 1, 1, results=(("cup", math.nan),)),
    ],
)
def test_what_is_no_box(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"a box is|a score is"):
        boxes(wrong)
