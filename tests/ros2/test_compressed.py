"""JPEG and PNG of sensor_msgs/CompressedImage."""

from __future__ import annotations

import array
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from henasy_stream_ros.compressed import MOST_BYTES, compressed_to_rgb
from henasy_stream_ros.encodings import ImageError
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.ros2.test_encodings import smooth


def encoded(rgb: np.ndarray, suffix: str = ".png", quality: int = 95) -> bytes:
    done, data = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return data.tobytes()


def empty_png(width: int, height: int) -> bytes:
    """A small file that says it holds a huge picture."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"")
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, body)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_png_is_exact():
    rgb = np.random.default_rng(1).integers(0, 256, (7, 9, 3), np.uint8)
    np.testing.assert_array_equal(compressed_to_rgb(array.array("B", encoded(rgb)), "png"), rgb)


def test_jpeg_is_close_and_its_format_is_not_believed():
    rgb = smooth(40, 60)
    found = compressed_to_rgb(encoded(rgb, ".jpg"), "rgb8; png compressed bgr8")
    assert np.abs(found.astype(int) - rgb).max() <= 12


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16", "1"])
def test_other_pngs_become_rgb(mode):
    buffer = io.BytesIO()
    picture = Image.fromarray(smooth(8, 10))
    deep = Image.fromarray(np.full((8, 10), 0x8000, np.uint16))
    (deep if mode == "I;16" else picture.convert(mode)).save(buffer, "PNG")
    found = compressed_to_rgb(buffer.getvalue())
    assert found.shape == (8, 10, 3)
    if mode == "I;16":
        assert (found == 128).all()


def test_grey_jpeg_becomes_rgb():
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 10), 90, np.uint8)).save(buffer, "JPEG")
    assert np.abs(compressed_to_rgb(buffer.getvalue()).astype(int) - 90).max() <= 2


def test_orientation_tags_are_passed_over():
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.fromarray(smooth(16, 24)).save(buffer, "JPEG", exif=exif)
    assert compressed_to_rgb(buffer.getvalue()).shape == (16, 24, 3)


def test_padding_after_the_file_is_fine():
    assert compressed_to_rgb(encoded(smooth(16, 16), ".jpg") + bytes(200)).shape == (16, 16, 3)


JPEG = encoded(smooth(64, 64), ".jpg")
PNG = encoded(smooth(64, 64))


@pytest.mark.parametrize(
    ("data", "text", "says"),
    [
        (b"", "jpeg", "neither JPEG nor PNG (its format says 'jpeg')"),
        (b"hello" * 100, "", "neither JPEG nor PNG"),
        (b"GIF89a" + bytes(100), "gif", "neither JPEG nor PNG"),
        (JPEG[:-10], "jpeg", "has no end: cut short"),
        (PNG[: len(PNG) // 2], "png", "PNG file"),
        (PNG, "16UC1; compressedDepth png", "depth image"),
        (empty_png(9_000, 9_000), "png", "million pixels"),
        (empty_png(60_000, 60_000), "png", "pixels"),
        (bytes(MOST_BYTES + 1), "jpeg", "of compressed data"),
        (None, "jpeg", "no bytes"),
    ],
)
def test_what_is_no_picture_is_told_in_one_line(data, text, says):
    with pytest.raises(ImageError) as told:
        compressed_to_rgb(data, text)
    assert says in str(told.value)
    assert "\n" not in str(told.value)


@settings(max_examples=150, deadline=None)
@given(where=st.integers(0, len(JPEG) - 1), value=st.integers(0, 255), cut=st.integers(0, len(JPEG)), png=st.booleans())
def test_damaged_files_are_a_picture_or_an_error(where, value, cut, png):
    data = bytearray(PNG if png else JPEG)
    if where < len(data):
        data[where] = value
    try:
        found = compressed_to_rgb(bytes(data[:cut]) if cut % 2 else bytes(data))
    except ImageError:
        return
    assert found.ndim == 3
    assert found.shape[2] == 3
