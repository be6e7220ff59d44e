"""Pictures out of ROS image messages, from the message's plain values: no ROS, no cv_bridge.

Rows are found by `step`, so padding is left out; 16-bit values of either byte order are scaled by their full range, as
those of image files are; YUV is BT.601 in video range, as ROS's own conversion has it; alpha is left out.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from henasy_stream.sources._opencv import cv2
from henasy_stream.sources.images import MAX_PIXELS, UnreadableImage, decode_stored
from henasy_stream.types import UInt8Array

_Pixels = npt.NDArray[Any]
_Data = Any  # bytes, array.array as rclpy has it, a NumPy array of bytes: what has a buffer


@dataclass(frozen=True, kw_only=True)
class _Packed:
    """Pixels one after the other: `channels` values of `bits` each, turned to RGB by `convert`."""

    convert: Callable[[_Pixels], _Pixels]
    channels: int = 1
    bits: int = 8
    even: bool = False
    """Two pixels share their colour: the width must be even."""

    @property
    def pixel_bytes(self) -> int:
        return self.channels * self.bits // 8


@dataclass(frozen=True, kw_only=True)
class _Planar:
    """Rows of brightness, then as many bytes of colour as `colour` times those; `convert` takes them by rows."""

    convert: Callable[[UInt8Array, UInt8Array], _Pixels]
    colour: float = 0.5
    even: bool = True

    pixel_bytes = 1


def _by(code: int) -> Callable[[_Pixels], _Pixels]:
    return lambda pixels: cv2.cvtColor(pixels, code)


def _as_it_is(pixels: _Pixels) -> _Pixels:
    return pixels


def _nv(code: int) -> Callable[[UInt8Array, UInt8Array], _Pixels]:
    def convert(luma: UInt8Array, chroma: UInt8Array) -> _Pixels:
        pairs = np.ascontiguousarray(chroma[:, : luma.shape[1]]).reshape(luma.shape[0] // 2, -1, 2)
        return cv2.cvtColorTwoPlane(np.ascontiguousarray(luma), pairs, code)

    return convert


def _nv24(luma: UInt8Array, chroma: UInt8Array) -> _Pixels:
    height, width = luma.shape
    pairs = chroma.reshape(height, -1)[:, : 2 * width]
    doubled = np.empty((height, 2 * width, 2), np.uint8)  # each pixel twice, as YUYV
    doubled[:, :, 0] = np.repeat(luma, 2, axis=1)
    doubled[:, :, 1] = pairs
    return cv2.cvtColor(doubled, cv2.COLOR_YUV2RGB_YUY2)[:, ::2]


# A mosaic is named by its first two rows, in OpenCV by the second row's second and third pixel.
_BAYER = {
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
}
_GREY, _BGR, _BGRA = _by(cv2.COLOR_GRAY2RGB), _by(cv2.COLOR_BGR2RGB), _by(cv2.COLOR_BGRA2RGB)
_YUYV = _Packed(convert=_by(cv2.COLOR_YUV2RGB_YUY2), channels=2, even=True)
_UYVY = _Packed(convert=_by(cv2.COLOR_YUV2RGB_UYVY), channels=2, even=True)

_ENCODINGS: dict[str, _Packed | _Planar] = {
    **{f"{name}{bits}": _Packed(convert=_by(code), bits=bits) for name, code in _BAYER.items() for bits in (8, 16)},
    **{f"mono{bits}": _Packed(convert=_GREY, bits=bits) for bits in (8, 16)},
    **{f"rgb{bits}": _Packed(convert=_as_it_is, channels=3, bits=bits) for bits in (8, 16)},
    **{f"bgr{bits}": _Packed(convert=_BGR, channels=3, bits=bits) for bits in (8, 16)},
    **{f"rgba{bits}": _Packed(convert=_by(cv2.COLOR_RGBA2RGB), channels=4, bits=bits) for bits in (8, 16)},
    **{f"bgra{bits}": _Packed(convert=_BGRA, channels=4, bits=bits) for bits in (8, 16)},
    # OpenCV's type names say nothing of colours; what has three or four is blue first, by OpenCV's custom.
    "8UC1": _Packed(convert=_GREY),
    **{f"{bits}UC3": _Packed(convert=_BGR, channels=3, bits=bits) for bits in (8, 16)},
    **{f"{bits}UC4": _Packed(convert=_BGRA, channels=4, bits=bits) for bits in (8, 16)},
    **dict.fromkeys(("yuv422", "uyvy"), _UYVY),
    **dict.fromkeys(("yuv422_yuy2", "yuyv"), _YUYV),
    "nv12": _Planar(convert=_nv(cv2.COLOR_YUV2RGB_NV12)),
    "nv21": _Planar(convert=_nv(cv2.COLOR_YUV2RGB_NV21)),
    "nv24": _Planar(convert=_nv24, colour=2, even=False),
}
ENCODINGS: tuple[str, ...] = tuple(_ENCODINGS)
"""The encodings that `image_to_rgb` knows."""

_BY_NAME = {name.lower(): layout for name, layout in _ENCODINGS.items()}

# OpenCV fills up a JPEG that is cut off with grey and says nothing.
_JPEG_BEGIN, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PADDING = 4096  # cameras may fill up a file behind its end

_NO_PICTURES = ("8uc2", "16uc1", "16uc2", "8sc", "16sc", "32sc", "32fc", "64fc")  # 16UC1: millimetres
_MOST_BYTES = 64_000_000


def image_to_rgb(
    encoding: str, *, width: int, height: int, step: int, is_bigendian: bool | int, data: _Data
) -> UInt8Array:
    """The picture of a `sensor_msgs/Image`.

    Args:
        encoding: as the message says it, in capitals or not: one of `ENCODINGS`.
        width: pixels.
        height: pixels; for the planar encodings rows of brightness.
        step: bytes from one row to the next; of nv24's colours it is twice that.
        is_bigendian: byte order of 16-bit values.
        data: the message's bytes; what stands behind the last row is not read.

    Returns:
        RGB, (height, width, 3) uint8, contiguous and the caller's own.

    Raises:
        UnreadableImage: an encoding that is unknown or shows no picture, no pixels or 100 million, rows longer
            than `step`, an odd size where pixels share colours, fewer bytes than all that says, or data that is no
            bytes.
    """
    layout = _layout(encoding)
    _check_size(encoding, layout, width, height, step)
    view = _bytes(data)
    row_bytes = width * layout.pixel_bytes
    if isinstance(layout, _Planar):
        whole = step * height + round(step * height * layout.colour)
        _check_length(encoding, width, height, view.size, whole)
        luma = view[: step * height].reshape(height, step)[:, :width]
        chroma = view[step * height : whole].reshape(-1, step)
        rgb = layout.convert(luma, chroma)
    else:
        # The last row may come without its padding.
        _check_length(encoding, width, height, view.size, step * (height - 1) + row_bytes)
        rows = np.lib.stride_tricks.as_strided(view, (height, row_bytes), (step * view.strides[0], view.strides[0]))
        rgb = layout.convert(_values(rows, layout, width, bool(is_bigendian)))
    out = np.ascontiguousarray(rgb)
    return out.copy() if np.may_share_memory(out, view) else out


def compressed_to_rgb(format: str, data: _Data) -> UInt8Array:
    """The picture of a `sensor_msgs/CompressedImage`.

    Orientation tags are not obeyed, as ROS does not: boxes belong to the pixels as they are stored.

    Args:
        format: as the message says it: `jpeg`, `png`, or as image_transport writes it, `bgr8; jpeg compressed bgr8`.
        data: the file's bytes, JPEG, PNG or another that OpenCV reads.

    Returns:
        RGB, (H, W, 3) uint8.

    Raises:
        UnreadableImage: a depth image, bytes that are no such file, that are cut short, over 64 MB of them, or over
            100 million pixels.
    """
    encoding, _, compression = (part.strip().lower() for part in format.partition(";"))
    if "compresseddepth" in format.lower() or encoding.startswith(_NO_PICTURES):
        raise UnreadableImage(f"format {format[:80]!r} holds depth or other measurements, no picture")
    raw = _bytes(data)
    if raw.size > _MOST_BYTES:
        raise UnreadableImage(f"{raw.size / 1e6:.0f} MB of compressed data, at most {_MOST_BYTES / 1e6:.0f} are taken")
    if raw[:2].tobytes() == _JPEG_BEGIN and _JPEG_END not in raw[-_PADDING:].tobytes():
        raise UnreadableImage(f"a JPEG of {raw.size} bytes that has no end: cut short")
    rgb = decode_stored(raw, f"compressed image of format {format[:80]!r}")
    if encoding.startswith("bayer_") and compression:  # the mosaic itself was compressed, as a grey picture
        layout = _layout(encoding)
        assert isinstance(layout, _Packed)
        return np.asarray(layout.convert(np.ascontiguousarray(rgb[:, :, 0])), np.uint8)
    # image_transport says so where the publisher did not swap before it compressed.
    return np.ascontiguousarray(rgb[:, :, ::-1]) if "compressed rgb" in compression else rgb


def _bytes(data: _Data) -> UInt8Array:
    if isinstance(data, np.ndarray):
        return data.reshape(-1)
    try:
        return np.frombuffer(data, np.uint8)
    except (TypeError, ValueError) as error:
        raise UnreadableImage(f"the image's data is no bytes ({error})") from error


def _layout(encoding: str) -> _Packed | _Planar:
    name = encoding.lower()
    if name in _BY_NAME:
        return _BY_NAME[name]
    told = repr(encoding[:40])
    if name.startswith(_NO_PICTURES):
        raise UnreadableImage(f"encoding {told} holds depth or other measurements, no picture")
    close = difflib.get_close_matches(name[:40], ENCODINGS, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    raise UnreadableImage(f"encoding {told} is not known; {hint}known are rgb8, bgr8, mono8, yuyv, nv12, bayer_rggb8 …")


def _check_size(encoding: str, layout: _Packed | _Planar, width: int, height: int, step: int) -> None:
    size = f"{width}x{height} of {encoding}"
    if width < 1 or height < 1:
        raise UnreadableImage(f"{size}: it has no pixels")
    if width * height >= MAX_PIXELS:
        most = f"fewer than {MAX_PIXELS // 1_000_000} million are taken"
        raise UnreadableImage(f"{size}: {width * height / 1e6:.0f} million pixels, {most}; publish a smaller one")
    if step < width * layout.pixel_bytes:
        raise UnreadableImage(
            f"{size}: step is {step} bytes, but a row of {width} pixels has {width * layout.pixel_bytes}"
        )
    rows_too = isinstance(layout, _Planar) and layout.even
    if layout.even and (width % 2 or (rows_too and height % 2)):
        raise UnreadableImage(f"{size}: neighbours share their colour, so width{' and height' * rows_too} must be even")


def _check_length(encoding: str, width: int, height: int, found: int, needed: int) -> None:
    if found < needed:
        raise UnreadableImage(f"{width}x{height} of {encoding}: {found} bytes of data, it takes {needed}: cut short")


def _values(rows: UInt8Array, layout: _Packed, width: int, is_bigendian: bool) -> UInt8Array:
    """(height, width) or (height, width, channels), contiguous, 16 bits scaled to 8."""
    values: npt.NDArray[Any] = np.ascontiguousarray(rows)
    if layout.bits == 16:
        values = values.view(">u2" if is_bigendian else "<u2").astype(np.uint16)
        values = cv2.convertScaleAbs(values, alpha=1 / 257)
    shape = (rows.shape[0], width) if layout.channels == 1 else (rows.shape[0], width, layout.channels)
    return values.reshape(shape)
