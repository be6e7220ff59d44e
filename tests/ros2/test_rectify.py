"""Undistortion by CameraInfo, and the way back into the pixels that were sent."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from henasy_stream_ros.rectify import Lens, Rectifier, sent_box

from henasy_stream.sources.images import UnreadableImage
from henasy_stream.types import Frame, Perception, Track

SIZE = (320, 240)
K = (200.0, 0.0, 158.0, 0.0, 205.0, 122.0, 0.0, 0.0, 1.0)
MODELS = {
    "plumb_bob": (-0.25, 0.06, 0.001, -0.0005, 0.0),
    "rational_polynomial": (0.9, 0.3, 0.0, 0.0, 0.02, 1.25, 0.5, 0.07),
    "equidistant": (-0.02, 0.005, -0.003, 0.001),
}


def info(model: str = "plumb_bob", **fields: Any) -> Any:
    whole = {"width": SIZE[0], "height": SIZE[1], "distortion_model": model, "k": K, "d": MODELS.get(model, ())}
    return SimpleNamespace(**(whole | fields))


def taught(model: str) -> Rectifier:
    rectifier = Rectifier("/head/camera_info")
    rectifier.learn(info(model))
    return rectifier


def dots() -> tuple[np.ndarray, np.ndarray]:
    """Where discs are in the undistorted world, continuous coordinates."""
    xs, ys = np.meshgrid(np.arange(90, 240, 25.0), np.arange(70, 180, 25.0))
    return xs.ravel() + 0.5, ys.ravel() + 0.5


def centre_of(mask: np.ndarray) -> tuple[float, float]:
    y, x = np.nonzero(mask)
    return float(x.mean()) + 0.5, float(y.mean()) + 0.5


@pytest.mark.parametrize("model", MODELS)
def test_there_and_back_is_where_it_was(model):
    lens = Lens.of(info(model))
    points = np.stack(dots(), -1)
    np.testing.assert_allclose(lens.rectified(lens.sent(points)), points, atol=0.02)
    assert np.abs(lens.sent(points) - points).max() > 0.5, "the lens bends nothing"


@pytest.mark.parametrize("model", MODELS)
def test_pictures_move_as_points_do(model):
    """A disc drawn where the lens puts it comes out of the rectified picture where it is in the world."""
    rectifier = taught(model)
    lens = Lens.of(info(model))
    for x, y in zip(*dots(), strict=True):
        (at,) = lens.sent(np.array([[x, y]]))
        picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        cv2.circle(
            picture, (round((at[0] - 0.5) * 16), round((at[1] - 0.5) * 16)), 4 * 16, (255, 255, 255), -1, shift=4
        )
        found = centre_of(rectifier.apply(picture)[..., 0] > 127)
        assert math.dist(found, (x, y)) < 0.6


@pytest.mark.parametrize("model", MODELS)
def test_masks_come_back_to_the_pixels_that_were_sent(model):
    rectifier = taught(model)
    lens = Lens.of(info(model))
    rectifier.apply(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    for x, y in zip(*dots(), strict=True):
        index = np.zeros((SIZE[1], SIZE[0]), np.uint8)
        cv2.circle(index, (round(x - 0.5), round(y - 0.5)), 5, 7, -1)
        back = rectifier.index_back(index)
        assert set(np.unique(back)) == {0, 7}
        (at,) = lens.sent(np.array([[x, y]]))
        assert math.dist(centre_of(back == 7), at) < 0.8


def test_boxes_come_back():
    rectifier = taught("plumb_bob")
    rectifier.apply(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    track = Track(
        id=1, label="cup", label_index=0, label_score=1, score=1, state="tracked", box_xyxy=(20.0, 30.0, 80.0, 90.0),
        mask_index=None, first_seen_ns=0, last_seen_ns=0,
    )  # fmt: skip
    frame = Frame(image=np.zeros((SIZE[1], SIZE[0], 3), np.uint8), stamp_ns=0, index=0, source="s")
    told = Perception(frame=frame, stamp_ns=0, window_start_ns=0, window_end_ns=0, tracks=(track,))
    (moved,) = rectifier.back(told).tracks
    assert moved.box_xyxy == sent_box(Lens.of(info()), track.box_xyxy)
    assert moved.box_xyxy[0] > 20.0, "barrel distortion pulls a left edge towards the middle"
    assert replace(moved, box_xyxy=track.box_xyxy) == track


def test_a_box_at_the_edge_stays_within_the_picture():
    x0, y0, x1, y1 = sent_box(Lens.of(info("rational_polynomial")), (-50.0, -50.0, 400.0, 300.0))
    assert 0 <= x0 <= x1 <= SIZE[0]
    assert 0 <= y0 <= y1 <= SIZE[1]


def test_before_a_camera_info_nothing_is_moved():
    rectifier = Rectifier("/head/camera_info")
    index = np.ones((4, 4), np.uint8)
    assert rectifier.index_back(index) is index
    with pytest.raises(UnreadableImage, match="no CameraInfo has come on /head/camera_info"):
        rectifier.apply(np.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"distortion_model": "thin_prism"}, "model 'thin_prism' is not known; there are plumb_bob"),
        ({"distortion_model": ""}, "model '' is not known"),
        ({"d": (0.1, 0.2)}, "2 coefficients do not fit plumb_bob"),
        ({"k": (0.0,) * 9}, "is the camera calibrated?"),
        ({"k": (math.nan,) * 9}, "is the camera calibrated?"),
        ({"width": 640}, "is about 640x240, the image has 320x240"),
    ],
)
def test_a_camera_info_that_does_not_fit_is_told(fields, says):
    rectifier = Rectifier("/head/camera_info")
    rectifier.learn(info(**fields))
    with pytest.raises(UnreadableImage) as told:
        rectifier.apply(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    assert says in str(told.value)


def test_a_new_calibration_counts():
    rectifier = taught("plumb_bob")
    picture = np.random.default_rng(1).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    before = rectifier.apply(picture)
    rectifier.learn(info("equidistant"))
    assert not np.array_equal(rectifier.apply(picture), before)
    rectifier.learn(info(d=(0.0,) * 5))
    np.testing.assert_array_equal(rectifier.apply(picture), picture)
