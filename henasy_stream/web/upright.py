"""Turns what is known of a frame the way its picture is turned on the page."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from henasy_stream.preprocess import Rotation, transform_boxes
from henasy_stream.types import Masks, Perception

Float64Array = npt.NDArray[np.float64]


def turned_size(width: int, height: int, rotate: Rotation) -> tuple[int, int]:
    """Width and height of a frame once it stands upright."""
    return (width, height) if rotate % 180 == 0 else (height, width)


def turn(width: int, height: int, rotate: Rotation) -> Float64Array:
    """3x3 affine from pixels of a frame to those of the frame turned clockwise by `rotate` degrees."""
    rows = {
        0: [[1, 0, 0], [0, 1, 0]],
        90: [[0, -1, height], [1, 0, 0]],
        180: [[-1, 0, width], [0, -1, height]],
        270: [[0, 1, 0], [-1, 0, width]],
    }[rotate]
    return np.array([*rows, [0, 0, 1]], np.float64)


def upright(perception: Perception, rotate: Rotation) -> Perception:
    """The perception of the turned frame, whose own picture is left out: black and of the turned size."""
    if not rotate:
        return perception
    frame = perception.frame
    affine = turn(frame.width, frame.height, rotate)
    boxes = transform_boxes(affine[:2], [track.box_xyxy for track in perception.tracks] or np.zeros((0, 4)))
    tracks = tuple(
        dataclasses.replace(track, box_xyxy=(x0, y0, x1, y1))
        for track, (x0, y0, x1, y1) in zip(perception.tracks, boxes.tolist(), strict=True)
    )
    masks = perception.masks
    if masks is not None:
        to_source = affine[:2, :2] @ masks.to_source + np.array([[0, 0, affine[0, 2]], [0, 0, affine[1, 2]]])
        masks = Masks(probability=masks.probability, to_source=to_source)
    width, height = turned_size(frame.width, frame.height, rotate)
    black = np.broadcast_to(np.zeros(3, np.uint8), (height, width, 3))
    return dataclasses.replace(perception, tracks=tracks, masks=masks, frame=dataclasses.replace(frame, image=black))
