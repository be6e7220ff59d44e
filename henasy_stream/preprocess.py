"""Between a camera's frame and the picture that the network sees: crop or resize, rotation, and the way back.

Coordinates are continuous and half-open: pixel (i, j) covers x in [j, j + 1), y in [i, i + 1), so a frame spans
0..width by 0..height.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from henasy_stream.types import UInt8Array

Float64Array = npt.NDArray[np.float64]
Resize = Literal["crop", "squash", "letterbox"]
Rotation = Literal[0, 90, 180, 270]

LETTERBOX_GREY = 127
"""Fills what a letterboxed picture leaves free: close to zero after normalisation with any weights' mean."""

PLAIN_DEVIATION = 3.0
"""Grey levels; what a dark sensor's noise stays below and hardly any view of a scene does."""

_ROTATE = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def is_plain(image: UInt8Array) -> bool:
    """Whether a frame (H, W, 3) is one colour but for noise, as with a covered lens; judged by a few hundred pixels."""
    step = max(1, min(image.shape[:2]) // 24)
    deviation = cv2.meanStdDev(np.ascontiguousarray(image[::step, ::step]))[1]
    return bool(deviation.max() < PLAIN_DEVIATION)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class View:
    """How a model-sized square shows a frame; made by `View.plan`.

    region: x0, y0, x1, y1 of the source pixels that the model sees.  paste: the rectangle of the model's square
    that they fill before the rotation.  to_source, to_model: 2x3 affines between model pixels and source pixels.
    """

    height: int
    width: int
    size: int
    rotate: Rotation
    region: tuple[int, int, int, int]
    paste: tuple[int, int, int, int]
    to_source: Float64Array
    to_model: Float64Array

    @staticmethod
    def plan(height: int, width: int, size: int, resize: Resize = "crop", rotate: Rotation = 0) -> View:
        """The view of a `height` x `width` frame in a `size` x `size` square; computed once per geometry.

        `crop` takes the central square of the short side, `squash` the whole frame with its aspect lost, `letterbox`
        the whole frame between grey bars.  `rotate` is by how many degrees clockwise the frame is turned to stand
        upright.  Raises ValueError for sizes below one pixel and for unknown modes.
        """
        return _plan(int(height), int(width), int(size), resize, rotate)

    def apply(self, image: UInt8Array) -> UInt8Array:
        """The model's square (S, S, 3) of an RGB frame (H, W, 3); ValueError for a frame of another size."""
        if image.shape != (self.height, self.width, 3) or image.dtype != np.uint8:
            raise ValueError(
                f"frame is {image.dtype} {image.shape}, the view was planned for uint8 ({self.height}, {self.width}, 3)"
            )
        x0, y0, x1, y1 = self.region
        left, top, right, bottom = self.paste
        picture = _resize(image[y0:y1, x0:x1], right - left, bottom - top)
        if picture.shape[:2] != (self.size, self.size):
            square = np.full((self.size, self.size, 3), LETTERBOX_GREY, np.uint8)
            square[top:bottom, left:right] = picture
            picture = square
        if self.rotate:
            picture = np.asarray(cv2.rotate(picture, _ROTATE[self.rotate]), np.uint8)
        return np.ascontiguousarray(picture)

    def points_to_source(self, points: npt.ArrayLike) -> Float64Array:
        """(N, 2) model pixels to (N, 2) source pixels, not clipped."""
        return _transform(self.to_source, points)

    def points_to_model(self, points: npt.ArrayLike) -> Float64Array:
        """(N, 2) source pixels to (N, 2) model pixels, not clipped."""
        return _transform(self.to_model, points)

    def boxes_to_source(self, boxes: npt.ArrayLike) -> Float64Array:
        """(N, 4) x0 y0 x1 y1 in model pixels to source pixels, clipped to the frame."""
        return clip_boxes(transform_boxes(self.to_source, boxes), self.height, self.width)

    def boxes_to_model(self, boxes: npt.ArrayLike) -> Float64Array:
        """(N, 4) x0 y0 x1 y1 in source pixels to model pixels, clipped to the square."""
        return clip_boxes(transform_boxes(self.to_model, boxes), self.size, self.size)

    @property
    def visible_polygon(self) -> Float64Array:
        """(4, 2) corners in source pixels of what the model sees, clockwise from the top left."""
        x0, y0, x1, y1 = self.region
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def transform_boxes(affine: Float64Array, boxes: npt.ArrayLike) -> Float64Array:
    """(N, 4) boxes through a 2x3 affine: the axis-aligned box around the two opposite corners' images."""
    array = np.asarray(boxes, np.float64).reshape(-1, 4)
    first, second = _transform(affine, array[:, :2]), _transform(affine, array[:, 2:])
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], 1)


def clip_boxes(boxes: Float64Array, height: int, width: int) -> Float64Array:
    """(N, 4) boxes cut to 0..width by 0..height."""
    limits = np.array([width, height, width, height], np.float64)
    return np.clip(boxes, 0.0, limits)


def _transform(affine: Float64Array, points: npt.ArrayLike) -> Float64Array:
    array = np.asarray(points, np.float64).reshape(-1, 2)
    moved: Float64Array = array @ affine[:, :2].T + affine[:, 2]
    return moved


def _resize(image: UInt8Array, width: int, height: int) -> UInt8Array:
    """Area averaging along an axis that shrinks, linear along one that grows (OpenCV mixes them up in one call)."""
    rows, columns = image.shape[:2]
    smaller = (min(columns, width), min(rows, height))
    resized: npt.NDArray[Any] = image
    if smaller != (columns, rows):
        resized = cv2.resize(resized, smaller, interpolation=cv2.INTER_AREA)
    if smaller != (width, height):
        resized = cv2.resize(resized, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized


@lru_cache(maxsize=32)
def _plan(height: int, width: int, size: int, resize: Resize, rotate: Rotation) -> View:
    if min(height, width, size) < 1:
        raise ValueError(f"a {width}x{height} frame has no view of {size}x{size} pixels")
    if rotate not in (0, 90, 180, 270):
        raise ValueError(f"rotate is {rotate}, not 0, 90, 180 or 270")
    region, paste = (0, 0, width, height), (0, 0, size, size)
    if resize == "crop":
        side = min(height, width)
        left, top = (width - side) // 2, (height - side) // 2
        region = (left, top, left + side, top + side)
    elif resize == "letterbox":
        scale = size / max(height, width)
        columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (size - columns) // 2, (size - rows) // 2
        paste = (left, top, left + columns, top + rows)
    elif resize != "squash":
        raise ValueError(f"resize is {resize!r}, not 'crop', 'squash' or 'letterbox'")
    x_scale = (region[2] - region[0]) / (paste[2] - paste[0])
    y_scale = (region[3] - region[1]) / (paste[3] - paste[1])
    to_source = np.array(
        [
            [x_scale, 0.0, region[0] - paste[0] * x_scale],
            [0.0, y_scale, region[1] - paste[1] * y_scale],
            [0.0, 0.0, 1.0],
        ]
    )
    to_source = to_source @ _turned_back(rotate, size)
    return View(
        height=height,
        width=width,
        size=size,
        rotate=rotate,
        region=region,
        paste=paste,
        to_source=to_source[:2],
        to_model=np.linalg.inv(to_source)[:2],
    )


def _turned_back(rotate: Rotation, size: int) -> Float64Array:
    """3x3 affine from the turned square to the square before it was turned."""
    rows = {
        0: [[1, 0, 0], [0, 1, 0]],
        90: [[0, 1, 0], [-1, 0, size]],
        180: [[-1, 0, size], [0, -1, size]],
        270: [[0, -1, size], [1, 0, 0]],
    }[rotate]
    return np.array([*rows, [0, 0, 1]], np.float64)
