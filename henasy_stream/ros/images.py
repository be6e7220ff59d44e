"""Pictures as the fields of ROS messages: masks in the pixels of the frame that came in, and the annotated frame."""

from __future__ import annotations

import cv2
import numpy as np

from henasy_stream.ros.fields import Fields, header_fields
from henasy_stream.types import Frame, Masks, Perception, UInt8Array

JPEG_QUALITY = 80


def mask_image_fields(perception: Perception) -> Fields:
    """sensor_msgs/Image, mono8, of the frame's size: 0 is background, else the `mask_index` of a track.

    A perception without masks has an image of background.  `data` is bytes.
    """
    frame = perception.frame
    index = index_in_frame(perception.masks, frame)
    return {
        "header": header_fields(perception.stamp_ns, frame.frame_id),
        "height": frame.height,
        "width": frame.width,
        "encoding": "mono8",
        "is_bigendian": 0,
        "step": frame.width,
        "data": index.tobytes(),
    }


def index_in_frame(masks: Masks | None, frame: Frame) -> UInt8Array:
    """The hard masks in the pixels of the frame, (H, W): each has the value of the grid's cell that it lies in."""
    if masks is None:
        return np.zeros((frame.height, frame.width), np.uint8)
    # Continuous coordinates put pixel centres at one half, warpAffine at whole numbers.
    matrix = np.array(masks.to_source, np.float64)
    matrix[:, 2] += matrix[:, :2].sum(1) * 0.5 - 0.5
    size = (frame.width, frame.height)
    return np.asarray(cv2.warpAffine(masks.index, matrix, size, flags=cv2.INTER_NEAREST), np.uint8)


def picture_fields(picture: UInt8Array, stamp_ns: int, frame_id: str, quality: int = JPEG_QUALITY) -> Fields:
    """sensor_msgs/CompressedImage, JPEG of a quality of 1 to 100, of an RGB picture (H, W, 3).  `data` is bytes."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, quality))
    assert done, f"OpenCV could not encode a JPEG of shape {picture.shape}"
    return {
        "header": header_fields(stamp_ns, frame_id),
        "format": "rgb8; jpeg compressed bgr8",
        "data": data.tobytes(),
    }
