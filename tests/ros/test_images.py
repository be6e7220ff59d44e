"""Masks in the frame's pixels, and pictures."""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
import pytest

from henasy_stream.ros import cdr
from henasy_stream.ros.images import index_in_frame, mask_image_fields, picture_fields
from henasy_stream.types import Masks
from tests.ros.definitions import typestore
from tests.sinks import synthetic


def test_a_mask_lies_where_its_affine_says():
    """Against the affine applied to the centre of each pixel, one by one."""
    index = index_in_frame(synthetic.masks(), synthetic.frame(0))
    assert index.shape == (480, 640)
    grid = synthetic.masks().index
    for y in range(0, 480, 7):
        for x in range(0, 640, 7):
            u, v = (x + 0.5 - 80) / 40, (y + 0.5) / 40
            inside = 0 <= u < 12 and 0 <= v < 12
            assert index[y, x] == (grid[int(v), int(u)] if inside else 0), (x, y)


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
def test_a_mask_of_a_rotated_frame(quarter):
    """The grid is upright, the frame is not: the affine turns it."""
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    linear = np.linalg.matrix_power(turn, quarter) * 10.0
    shift = np.array([60.0, 60.0]) - linear @ [6.0, 6.0]
    probability = np.zeros((1, 12, 12), np.float32)
    probability[0, 0:3, 0:12] = 0.9  # a bar at the top of the grid
    masks = Masks(probability=probability, to_source=np.column_stack([linear, shift]))
    index = index_in_frame(masks, synthetic.frame(0, width=120, height=120))
    upright = np.zeros((120, 120), np.uint8)
    upright[0:30] = 1
    wrong = (index != np.rot90(upright, -quarter)).sum()
    assert wrong <= 240  # a row of pixels on either side of an edge


def test_the_image_of_a_perception():
    taken = dataclasses.replace(synthetic.frame(4), frame_id="head")
    values = mask_image_fields(synthetic.perception(frame=taken))
    assert (values["width"], values["height"], values["step"], values["encoding"]) == (640, 480, 640, "mono8")
    assert values["header"] == {"stamp": {"sec": 2, "nanosec": 0}, "frame_id": "head"}
    read: Any = typestore().deserialize_cdr(cdr.encode("sensor_msgs/msg/Image", values), "sensor_msgs/msg/Image")
    assert np.unique(read.data).tolist() == [0, 1, 2]
    assert read.data.reshape(480, 640)[160, 240] == 1


@pytest.mark.parametrize("masks", [None, Masks(probability=np.zeros((0, 4, 4), np.float32), to_source=np.eye(2, 3))])
def test_nothing_found_is_background(masks):
    values = mask_image_fields(synthetic.perception(masks=masks))
    assert set(values["data"]) == {0}
    assert len(values["data"]) == 640 * 480


def test_a_picture_is_a_jpeg_with_its_colours():
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, :, 0] = 200
    values = picture_fields(picture, 1_500_000_000, "camera")
    assert values["format"] == "rgb8; jpeg compressed bgr8"
    assert values["header"]["stamp"] == {"sec": 1, "nanosec": 500_000_000}
    read: Any = typestore().deserialize_cdr(
        cdr.encode("sensor_msgs/msg/CompressedImage", values), "sensor_msgs/msg/CompressedImage"
    )
    decoded: Any = cv2.imdecode(read.data, cv2.IMREAD_COLOR)
    assert abs(int(decoded[24, 32, 2]) - 200) < 4
    assert decoded[24, 32, :2].max() < 8
