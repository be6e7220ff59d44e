from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from henasy_stream.preprocess import LETTERBOX_GREY, View, is_plain

MODES = ("crop", "squash", "letterbox")
ROTATIONS = (0, 90, 180, 270)
ODD_SIZES = [(1, 1), (17, 900), (900, 17), (5000, 3000), (3000, 5000), (1, 640), (97, 96)]

views = st.builds(
    View.plan,
    st.integers(1, 700),
    st.integers(1, 700),
    st.integers(8, 224),
    st.sampled_from(MODES),
    st.sampled_from(ROTATIONS),
)
fractions = st.floats(0.0, 1.0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rotate", ROTATIONS)
@pytest.mark.parametrize("size", ODD_SIZES)
def test_every_size_gives_a_full_square(mode, rotate, size):
    height, width = size
    view = View.plan(height, width, 96, mode, rotate)
    square = view.apply(np.full((height, width, 3), 200, np.uint8))
    assert square.shape == (96, 96, 3)
    assert square.dtype == np.uint8
    assert square.flags.c_contiguous
    assert set(np.unique(square)) <= ({200, LETTERBOX_GREY} if mode == "letterbox" else {200})


@given(views, fractions, fractions)
def test_points_come_back(view, fx, fy):
    point = np.array([[fx * view.width, fy * view.height]])
    np.testing.assert_allclose(view.points_to_source(view.points_to_model(point)), point, atol=1e-6)


@given(views, st.lists(st.tuples(*[st.floats(-300, 600)] * 4), max_size=4))
def test_boxes_stay_inside_the_frame_and_ordered(view, corners):
    boxes = view.boxes_to_source(np.array(corners).reshape(-1, 4))
    assert boxes.shape == (len(corners), 4)
    assert (boxes >= 0).all()
    assert (boxes[:, [0, 2]] <= view.width).all()
    assert (boxes[:, [1, 3]] <= view.height).all()
    assert (boxes[:, :2] <= boxes[:, 2:]).all()


@given(views)
def test_the_whole_square_maps_onto_the_visible_polygon(view):
    polygon = view.visible_polygon
    box = view.boxes_to_source([[0, 0, view.size, view.size]])[0]
    np.testing.assert_allclose(box[:2], polygon.min(0), atol=1e-6)
    np.testing.assert_allclose(box[2:], polygon.max(0), atol=1e-6)


@given(st.data())
def test_a_painted_box_is_found_where_the_view_says(data):
    height, width = data.draw(st.integers(30, 500)), data.draw(st.integers(30, 500))
    view = View.plan(
        height,
        width,
        data.draw(st.integers(48, 224)),
        data.draw(st.sampled_from(MODES)),
        data.draw(st.sampled_from(ROTATIONS)),
    )
    x0, y0, x1, y1 = view.region
    left = data.draw(st.integers(x0, x1 - 5))
    top = data.draw(st.integers(y0, y1 - 5))
    right, bottom = data.draw(st.integers(left + 4, x1)), data.draw(st.integers(top + 4, y1))
    box = view.boxes_to_model([[left, top, right, bottom]])[0]
    assume(min(box[2] - box[0], box[3] - box[1]) >= 3)
    image = np.zeros((height, width, 3), np.uint8)
    image[top:bottom, left:right] = 255
    square = view.apply(image)
    painted = (
        square[..., 0]
        if view.paste == (0, 0, view.size, view.size)
        else square[..., 0] * (square[..., 0] != LETTERBOX_GREY)
    )
    rows, columns = np.nonzero(painted > 128)
    found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    np.testing.assert_allclose(found, box, atol=1.01)
    back = view.boxes_to_source([box])[0]
    np.testing.assert_allclose(back, [left, top, right, bottom], atol=1e-6)


def test_rotation_turns_clockwise():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:20, :20] = 255  # top left
    assert View.plan(40, 40, 40, "crop", 90).apply(image)[5, 35, 0] == 255  # top right
    assert View.plan(40, 40, 40, "crop", 180).apply(image)[35, 35, 0] == 255
    assert View.plan(40, 40, 40, "crop", 270).apply(image)[35, 5, 0] == 255


def test_crop_is_the_central_square():
    np.testing.assert_array_equal(View.plan(480, 640, 96).visible_polygon, [[80, 0], [560, 0], [560, 480], [80, 480]])


def test_mixed_scaling_does_not_alias():
    """A fine pattern along the axis that shrinks averages to grey although the other axis grows."""
    image = np.zeros((20, 960, 3), np.uint8)
    image[:, ::2] = 254
    square = View.plan(20, 960, 96, "squash").apply(image)
    assert np.abs(square.astype(int) - 127).max() <= 1


def test_geometry_is_computed_once():
    assert View.plan(480, 640, 96, "crop", 0) is View.plan(480, 640, 96, "crop", 0)


def test_wrong_frames_and_modes_are_named():
    with pytest.raises(ValueError, match=r"\(10, 10, 3\)"):
        View.plan(20, 20, 8).apply(np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(ValueError, match="stretch"):
        View.plan(20, 20, 8, "stretch")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="45"):
        View.plan(20, 20, 8, "crop", 45)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="0x20"):
        View.plan(20, 0, 8)


@pytest.mark.parametrize("level", [0, 90, 255])
def test_a_covered_lens_is_plain_and_a_thing_in_the_picture_is_not(level):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1.5, (480, 640, 3))
    image = np.clip(level + noise, 0, 255).astype(np.uint8)
    assert is_plain(image)
    assert is_plain(image[:1, :1])
    image[100:160, 200:260] = 127
    assert not is_plain(image)
