"""Compressed images of sensor_msgs to RGB: JPEG and PNG, looked at before they are decoded.

Free of ROS.
"""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
from PIL import Image

from henasy_stream.types import UInt8Array
from henasy_stream_ros.encodings import ImageError, check_size

MOST_BYTES = 64_000_000
_END_OF_JPEG = b"\xff\xd9"
_TAIL = 4096  # cameras may pad a file with so many bytes


def compressed_to_rgb(data: Any, format_text: str = "") -> UInt8Array:
    """The picture (H, W, 3), RGB, of the fields of sensor_msgs/CompressedImage.

    What `format_text` says is not believed: the file itself tells what it is.  Orientation tags are passed over, since
    boxes come back in the pixels that were sent.

    Raises:
        ImageError: the data is neither JPEG nor PNG, is cut short, or holds more than `MOST_PIXELS`.
    """
    if "compressedDepth" in format_text:
        raise ImageError(f"format {format_text[:60]!r} is a depth image; choose the camera's colour topic")
    try:
        body = bytes(data)
    except (TypeError, ValueError) as error:
        raise ImageError(f"the image's data is no bytes ({error})") from error
    if len(body) > MOST_BYTES:
        raise ImageError(f"{len(body) / 1e6:.0f} MB of compressed data; at most {MOST_BYTES / 1e6:.0f} are taken")
    kind = _check(body, format_text)
    if kind == "JPEG" and _END_OF_JPEG not in body[-_TAIL:]:
        raise ImageError(f"a JPEG file of {len(body)} bytes that has no end: cut short")
    try:
        image = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageError(f"a {kind} file that cannot be decoded ({str(error).splitlines()[0]})") from error
    if image is None:
        raise ImageError(f"a {kind} file of {len(body)} bytes that cannot be decoded")
    return np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _check(body: bytes, format_text: str) -> str:
    """JPEG or PNG, once the size is known to be bearable."""
    try:
        # Opening reads the header only, so that a small file of a huge picture costs nothing.
        with Image.open(io.BytesIO(body), formats=("JPEG", "PNG")) as picture:
            width, height = picture.size
            kind = "PNG" if picture.format == "PNG" else "JPEG"  # or one of several pictures, which is JPEG
    except Image.DecompressionBombError as error:
        raise ImageError(f"{error}: publish a smaller one") from error
    except Exception as error:
        said = f" (its format says {format_text[:60]!r})" if format_text else ""
        raise ImageError(f"{len(body)} bytes that are neither JPEG nor PNG{said}") from error
    check_size(width, height)
    return kind
