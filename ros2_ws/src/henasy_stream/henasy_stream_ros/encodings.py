"""Raw images of sensor_msgs to RGB: every encoding that cameras send, by stride, without cv_bridge.

Free of ROS.  Names are those of sensor_msgs/image_encodings.hpp.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from henasy_stream.types import UInt8Array

MOST_PIXELS = 50_000_000
"""A larger image is refused: as RGB it would take more than 150 MB."""


class ImageError(ValueError):
    """An image that is none, in one line for people."""


@dataclass(frozen=True, kw_only=True)
class RawImage:
    """The fields of sensor_msgs/Image.  `step`: bytes from one row to the next; `data`: anything with a buffer."""

    width: int
    height: int
    encoding: str
    step: int
    data: Any
    is_bigendian: bool = False


_Rows = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """channels: bytes or 16-bit words of a pixel.  deep: 16 bits, of which the high byte is taken.  convert: from the
    8-bit rows (rows, width, channels) to RGB.  even: what must be even, as two pixels share a colour.
    """

    channels: int
    convert: Callable[[_Rows], npt.NDArray[Any]]
    deep: bool = False
    even: str = ""
    chroma: bool = False  # half as many rows again follow, with the colours of pairs of rows


def _with(code: int) -> Callable[[_Rows], npt.NDArray[Any]]:
    return lambda rows: cv2.cvtColor(rows, code)


def _mosaic(code: int) -> Callable[[_Rows], npt.NDArray[Any]]:
    return lambda rows: cv2.cvtColor(rows[..., 0], code)


def _two_planes(code: int) -> Callable[[_Rows], npt.NDArray[Any]]:
    def convert(rows: _Rows) -> npt.NDArray[Any]:
        height, width = rows.shape[0] * 2 // 3, rows.shape[1]
        colours = np.ascontiguousarray(rows[height:, :, 0]).reshape(height // 2, width // 2, 2)
        return cv2.cvtColorTwoPlane(np.ascontiguousarray(rows[:height, :, 0]), colours, code)

    return convert


def _grey(rows: _Rows) -> npt.NDArray[Any]:
    return cv2.cvtColor(rows[..., 0], cv2.COLOR_GRAY2RGB)


# OpenCV names a mosaic by the second and third pixel of its second row, ROS by its first four.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}
_UYVY = _Layout(channels=2, convert=_with(cv2.COLOR_YUV2RGB_UYVY), even="width")
_YUYV = _Layout(channels=2, convert=_with(cv2.COLOR_YUV2RGB_YUY2), even="width")

_LAYOUTS: dict[str, _Layout] = {
    "rgb8": _Layout(channels=3, convert=lambda rows: rows),
    "bgr8": _Layout(channels=3, convert=_with(cv2.COLOR_BGR2RGB)),
    "rgba8": _Layout(channels=4, convert=_with(cv2.COLOR_RGBA2RGB)),
    "bgra8": _Layout(channels=4, convert=_with(cv2.COLOR_BGRA2RGB)),
    "mono8": _Layout(channels=1, convert=_grey),
    "rgb16": _Layout(channels=3, convert=lambda rows: rows, deep=True),
    "bgr16": _Layout(channels=3, convert=_with(cv2.COLOR_BGR2RGB), deep=True),
    "rgba16": _Layout(channels=4, convert=_with(cv2.COLOR_RGBA2RGB), deep=True),
    "bgra16": _Layout(channels=4, convert=_with(cv2.COLOR_BGRA2RGB), deep=True),
    "mono16": _Layout(channels=1, convert=_grey, deep=True),
    "uyvy": _UYVY,
    "yuv422": _UYVY,  # its name until Iron
    "yuyv": _YUYV,
    "yuv422_yuy2": _YUYV,
    "nv12": _Layout(channels=1, convert=_two_planes(cv2.COLOR_YUV2RGB_NV12), even="width and height", chroma=True),
    "nv21": _Layout(channels=1, convert=_two_planes(cv2.COLOR_YUV2RGB_NV21), even="width and height", chroma=True),
    **{f"bayer_{order}8": _Layout(channels=1, convert=_mosaic(code)) for order, code in _BAYER.items()},
    **{f"bayer_{order}16": _Layout(channels=1, convert=_mosaic(code), deep=True) for order, code in _BAYER.items()},
    "8UC1": _Layout(channels=1, convert=_grey),
    "8UC3": _Layout(channels=3, convert=_with(cv2.COLOR_BGR2RGB)),  # what OpenCV programs publish is blue first
    "8UC4": _Layout(channels=4, convert=_with(cv2.COLOR_BGRA2RGB)),
}

ENCODINGS: tuple[str, ...] = tuple(_LAYOUTS)
"""What `to_rgb` takes."""

_DEPTH = ("16UC1", "16SC1", "32FC1", "64FC1")


def to_rgb(image: RawImage) -> UInt8Array:
    """The picture (H, W, 3), RGB; rgb8 without padding is not copied, so it is only to be read.

    Of 16-bit encodings the high byte is kept.  YUV is taken as BT.601, video range, as OpenCV does.

    Raises:
        ImageError: the encoding is none of `ENCODINGS`, the sizes do not fit each other or the data, or there are more
            than `MOST_PIXELS`.
    """
    layout = _layout(image.encoding)
    rows = _rows(image, layout)
    return np.ascontiguousarray(layout.convert(rows), np.uint8)


def _layout(encoding: str) -> _Layout:
    layout = _LAYOUTS.get(encoding)
    if layout is not None:
        return layout
    if encoding in _DEPTH:
        raise ImageError(f"encoding {encoding!r} is a depth image; choose the camera's colour topic")
    raise ImageError(f"encoding {encoding[:40]!r} is not known; there are {', '.join(ENCODINGS)}")


def _rows(image: RawImage, layout: _Layout) -> _Rows:
    """The bytes as (rows, width, channels), a view where all of them are needed."""
    width, height = image.width, image.height
    if width < 1 or height < 1:
        raise ImageError(f"the image is {width}x{height}: it has no pixels")
    check_size(width, height)
    if ("width" in layout.even and width % 2) or ("height" in layout.even and height % 2):
        raise ImageError(f"{image.encoding} of {width}x{height}: {layout.even} must be even")
    depth = 2 if layout.deep else 1
    row = width * layout.channels * depth
    if image.step < row:
        raise ImageError(
            f"step is {image.step} bytes, a row of {width} pixels of {image.encoding} takes {row}: "
            "width, encoding or step is wrong"
        )
    rows = height * 3 // 2 if layout.chroma else height
    try:
        data = np.frombuffer(image.data, np.uint8)
    except (TypeError, ValueError) as error:
        raise ImageError(f"the image's data is no bytes ({error})") from error
    needed = image.step * (rows - 1) + row  # the last row may come without its padding
    if data.size < needed:
        raise ImageError(f"{data.size} bytes of data, {width}x{height} {image.encoding} takes {needed}: cut short")
    strides = (image.step, layout.channels * depth, depth)
    first = 0 if image.is_bigendian or not layout.deep else 1  # where the high byte of a word is
    view = np.lib.stride_tricks.as_strided(data[first:], (rows, width, layout.channels), strides, writeable=False)
    return np.ascontiguousarray(view) if layout.deep else view


def check_size(width: int, height: int) -> None:
    """Raises ImageError for more than `MOST_PIXELS`."""
    if width * height > MOST_PIXELS:
        raise ImageError(
            f"the image has {width}x{height} = {width * height / 1e6:.0f} million pixels, at most "
            f"{MOST_PIXELS / 1e6:.0f} are taken: publish a smaller one"
        )
