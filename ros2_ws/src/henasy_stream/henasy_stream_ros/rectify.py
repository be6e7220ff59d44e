"""Undistortion by a CameraInfo, and the way back: results are told in the pixels that were sent.

Free of ROS.  Models are those of sensor_msgs/distortion_models.hpp: plumb_bob and rational_polynomial (OpenCV's), and
equidistant (OpenCV's fisheye).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from henasy_stream.sources.images import UnreadableImage
from henasy_stream.types import Box, Perception, UInt8Array

_MODELS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}
_EDGE = 8  # points along each side of a box, which is curved in the pixels that were sent

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Lens:
    """What a CameraInfo says.  `k`: the 3x3 camera matrix, row by row, in pixels of width x height."""

    width: int
    height: int
    model: str
    k: tuple[float, ...]
    d: tuple[float, ...]

    @staticmethod
    def of(message: Any) -> Lens:
        """The lens of a sensor_msgs/CameraInfo.  Raises UnreadableImage when it says none."""
        lens = Lens(
            width=int(message.width),
            height=int(message.height),
            model=str(message.distortion_model),
            k=tuple(float(v) for v in message.k),
            d=tuple(float(v) for v in message.d),
        )
        if lens.model not in _MODELS:
            raise UnreadableImage(f"CameraInfo: model {lens.model[:40]!r} is not known; there are {', '.join(_MODELS)}")
        if len(lens.d) not in _MODELS[lens.model]:
            raise UnreadableImage(f"CameraInfo: {len(lens.d)} coefficients do not fit {lens.model}")
        if len(lens.k) != 9 or not np.isfinite([*lens.k, *lens.d]).all() or lens.k[0] <= 0 or lens.k[4] <= 0:
            raise UnreadableImage("CameraInfo: has no camera matrix: is the camera calibrated?")
        return lens

    @property
    def _matrix(self) -> Float64Array:
        return np.array(self.k, np.float64).reshape(3, 3)

    def maps(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """For each rectified pixel the pixel that was sent, as `cv2.remap` takes it."""
        matrix, size = self._matrix, (self.width, self.height)
        eye = np.eye(3)
        if self.model == "equidistant":
            return cv2.fisheye.initUndistortRectifyMap(matrix, np.array(self.d), eye, matrix, size, cv2.CV_16SC2)
        return cv2.initUndistortRectifyMap(matrix, np.array(self.d), eye, matrix, size, cv2.CV_16SC2)

    def sent(self, points: Float64Array) -> Float64Array:
        """Continuous coordinates (N, 2) in the picture that was sent, of rectified ones."""
        matrix = self._matrix
        centred = points - 0.5  # OpenCV's pixel centres are whole numbers
        x = (centred[:, 0] - matrix[0, 2]) / matrix[0, 0]
        y = (centred[:, 1] - matrix[1, 2]) / matrix[1, 1]
        if self.model == "equidistant":
            flat = np.stack([x, y], -1)[:, None]
            return np.asarray(cv2.fisheye.distortPoints(flat, matrix, np.array(self.d))[:, 0], np.float64) + 0.5
        rays = np.stack([x, y, np.ones_like(x)], -1)[:, None]
        none = np.zeros(3)
        return np.asarray(cv2.projectPoints(rays, none, none, matrix, np.array(self.d))[0][:, 0], np.float64) + 0.5

    def rectified(self, points: Float64Array) -> Float64Array:
        """The other way: coordinates (N, 2) in the rectified picture, of sent ones; NaN where there are none."""
        matrix = self._matrix
        centred = (points - 0.5)[:, None]
        if self.model == "equidistant":
            found = cv2.fisheye.undistortPoints(centred, matrix, np.array(self.d), None, matrix)
        else:
            found = cv2.undistortPoints(centred, matrix, np.array(self.d), None, matrix)
        return np.asarray(found[:, 0], np.float64) + 0.5


class Rectifier:
    """Undistorts pictures by the lens that it was told last.

    `learn` is called by the executor, `apply` by the worker, `back` by the worker's outputs.

    Args:
        topic: of the CameraInfo, for messages.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._lens: Lens | None = None
        self._told: Lens | UnreadableImage | None = None
        self._maps: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None
        self._grid: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None

    def learn(self, message: Any) -> None:
        """Takes a CameraInfo."""
        try:
            self._told = Lens.of(message)
        except UnreadableImage as error:
            self._told = error

    def apply(self, image: UInt8Array) -> UInt8Array:
        """The undistorted picture, of the same size.

        Raises:
            UnreadableImage: no CameraInfo has come, or it does not fit the picture.
        """
        told = self._told
        if told is None:
            raise UnreadableImage(f"rectify: no CameraInfo has come on {self._topic}")
        if isinstance(told, UnreadableImage):
            raise told
        if (told.height, told.width) != image.shape[:2]:
            raise UnreadableImage(
                f"rectify: {self._topic} is about {told.width}x{told.height}, the image has "
                f"{image.shape[1]}x{image.shape[0]}"
            )
        if told != self._lens or self._maps is None:
            self._lens, self._maps, self._grid = told, told.maps(), None
        return np.asarray(cv2.remap(image, *self._maps, cv2.INTER_LINEAR), np.uint8)

    def back(self, perception: Perception) -> Perception:
        """The perception with its boxes in the pixels that were sent.  Its frame stays the rectified one."""
        lens = self._lens
        if lens is None:
            return perception
        tracks = tuple(replace(track, box_xyxy=sent_box(lens, track.box_xyxy)) for track in perception.tracks)
        return replace(perception, tracks=tracks)

    def index_back(self, index: UInt8Array) -> UInt8Array:
        """A mask image (H, W) of the rectified picture, in the pixels that were sent; 0 where nothing is known."""
        lens = self._lens
        if lens is None:
            return index
        if self._grid is None:
            y, x = np.mgrid[0 : lens.height, 0 : lens.width]
            points = np.stack([x.ravel(), y.ravel()], -1) + 0.5
            found = lens.rectified(points) - 0.5
            grid = np.nan_to_num(found, nan=-1e6).reshape(lens.height, lens.width, 2).astype(np.float32)
            self._grid = grid[..., 0], grid[..., 1]
        across, down = self._grid
        return np.asarray(cv2.remap(index, across, down, cv2.INTER_NEAREST), np.uint8)


def sent_box(lens: Lens, box: Box) -> Box:
    """The box around a rectified box's outline, in the pixels that were sent, clipped to the picture."""
    x0, y0, x1, y1 = box
    along = np.linspace(0, 1, _EDGE)
    xs, ys = x0 + (x1 - x0) * along, y0 + (y1 - y0) * along
    outline = np.concatenate(
        [
            np.stack([xs, np.full_like(xs, y0)], -1),
            np.stack([xs, np.full_like(xs, y1)], -1),
            np.stack([np.full_like(ys, x0), ys], -1),
            np.stack([np.full_like(ys, x1), ys], -1),
        ]
    )
    points = lens.sent(outline)
    points = np.clip(points, 0, (lens.width, lens.height))
    low, high = points.min(0), points.max(0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
