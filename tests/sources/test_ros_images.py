"""Pictures of ROS messages: packed by hand, whatever the padding, the byte order and the layout."""

from __future__ import annotations

import array
import io
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from henasy_stream.sources.images import UnreadableImage
from henasy_stream.sources.ros_images import ENCODINGS, compressed_to_rgb, image_to_rgb
from henasy_stream.types import UInt8Array

PADDING = 0xA5
ORDERS = {"rgb": (0, 1, 2), "bgr": (2, 1, 0), "rgba": (0, 1, 2, 3), "bgra": (2, 1, 0, 3)}
MOSAICS = {"bayer_rggb": "rggb", "bayer_bggr": "bggr", "bayer_gbrg": "gbrg", "bayer_grbg": "grbg"}

sizes = st.tuples(st.integers(1, 9), st.integers(1, 7))
even_sizes = st.tuples(st.integers(1, 5).map(lambda n: 2 * n), st.integers(1, 4).map(lambda n: 2 * n))
paddings = st.integers(0, 5)


def picture(seed: int, width: int, height: int, channels: int = 4) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def padded(rows, padding, step=None):
    """The rows (height, bytes) as a message's data, and its step."""
    step = step or rows.shape[1] + padding
    out = np.full((rows.shape[0], step), PADDING, np.uint8)
    out[:, : rows.shape[1]] = rows
    return out.tobytes(), step


def as_bytes(values, bits, is_bigendian):
    """8-bit values in as many bits, rows of bytes; 16 bits hold v * 257, whose top byte is v."""
    if bits == 8:
        return values.reshape(values.shape[0], -1)
    wide = (values.astype(np.uint16) * 257).astype(">u2" if is_bigendian else "<u2")
    return np.ascontiguousarray(wide.reshape(values.shape[0], -1)).view(np.uint8)


def read(encoding, rows_or_data, width, height, step, *, is_bigendian=False):
    return image_to_rgb(encoding, width=width, height=height, step=step, is_bigendian=is_bigendian, data=rows_or_data)


@settings(deadline=None)
@given(st.sampled_from(sorted(ORDERS)), st.sampled_from([8, 16]), sizes, paddings, st.booleans(), st.integers(0, 2**32))
def test_packed_colours(name, bits, size, padding, is_bigendian, seed):
    width, height = size
    rgba = picture(seed, width, height)
    data, step = padded(as_bytes(rgba[:, :, ORDERS[name]], bits, is_bigendian), padding)
    out = read(f"{name}{bits}", data, width, height, step, is_bigendian=is_bigendian)
    np.testing.assert_array_equal(out, rgba[:, :, :3])
    assert out.dtype == np.uint8
    assert out.flags.c_contiguous


@settings(deadline=None)
@given(
    st.sampled_from(["mono8", "mono16", "8UC1"]),
    sizes,
    paddings,
    st.booleans(),
    st.integers(0, 2**32),
)
def test_grey(encoding, size, padding, is_bigendian, seed):
    width, height = size
    grey = picture(seed, width, height, 1)[:, :, 0]
    data, step = padded(as_bytes(grey, 16 if "16" in encoding else 8, is_bigendian), padding)
    out = read(encoding, data, width, height, step, is_bigendian=is_bigendian)
    np.testing.assert_array_equal(out, np.repeat(grey[:, :, None], 3, 2))


@settings(deadline=None)
@given(st.lists(st.integers(0, 65535), min_size=1, max_size=20), st.booleans())
def test_sixteen_bits_are_scaled_by_their_full_range(values, is_bigendian):
    data = np.array(values, ">u2" if is_bigendian else "<u2").tobytes()
    out = read("mono16", data, len(values), 1, 2 * len(values), is_bigendian=is_bigendian)
    assert np.abs(out[0, :, 0] - np.array(values) / 257).max() <= 0.5


@pytest.mark.parametrize(("encoding", "channels"), [("8UC3", 3), ("8UC4", 4), ("16UC3", 3), ("16UC4", 4)])
def test_opencv_names_are_blue_first(encoding, channels):
    rgba = picture(3, 5, 4)
    data, step = padded(as_bytes(rgba[:, :, ORDERS["bgra"][:channels]], int(encoding[:-3]), False), 0)
    np.testing.assert_array_equal(read(encoding, data, 5, 4, step), rgba[:, :, :3])


@settings(deadline=None)
@given(
    st.sampled_from(sorted(MOSAICS)),
    st.sampled_from([8, 16]),
    st.tuples(st.integers(2, 5).map(lambda n: 2 * n), st.integers(2, 5).map(lambda n: 2 * n)),
    paddings,
    st.booleans(),
    st.tuples(*[st.integers(0, 255)] * 3),
)
def test_a_mosaic_of_one_colour(name, bits, size, padding, is_bigendian, colour):
    width, height = size
    letters = np.array(["rgb".index(letter) for letter in MOSAICS[name]]).reshape(2, 2)
    mosaic = np.array(colour, np.uint8)[np.tile(letters, (height // 2, width // 2))]
    data, step = padded(as_bytes(mosaic, bits, is_bigendian), padding)
    out = read(f"{name}{bits}", data, width, height, step, is_bigendian=is_bigendian)
    np.testing.assert_array_equal(out, np.broadcast_to(np.array(colour, np.uint8), out.shape))


@pytest.mark.parametrize("name", sorted(MOSAICS))
@pytest.mark.parametrize(("width", "height"), [(1, 1), (4, 1), (2, 2), (3, 3), (2, 5)])
def test_tiny_mosaics(name, width, height):
    assert read(f"{name}8", bytes(width * height), width, height, width).shape == (height, width, 3)


def from_yuv(y, u, v):
    """BT.601, video range, written from the standard; below black is black before colour is added."""
    luma = 255 / 219 * (np.maximum(y, 16).astype(float) - 16)
    blue, red = 255 / 224 * (u.astype(float) - 128), 255 / 224 * (v.astype(float) - 128)
    rgb = luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue
    return np.clip(np.stack(rgb, -1), 0, 255)


def close_to(out, rgb):
    assert np.abs(out - rgb).max() <= 2.0


@settings(deadline=None)
@given(
    st.sampled_from(["yuv422", "uyvy", "yuv422_yuy2", "yuyv"]),
    st.tuples(st.integers(1, 5).map(lambda n: 2 * n), st.integers(1, 5)),
    paddings,
    st.integers(0, 2**32),
)
def test_yuv_of_two_bytes(encoding, size, padding, seed):
    width, height = size
    widths = (width, width // 2, width // 2)
    y, u, v = (picture(seed + i, wide, height, 1)[:, :, 0] for i, wide in enumerate(widths))
    rows = np.empty((height, width, 2), np.uint8)
    first = 0 if encoding in ("yuv422_yuy2", "yuyv") else 1
    rows[:, :, first] = y
    rows[:, 0::2, 1 - first], rows[:, 1::2, 1 - first] = u, v
    data, step = padded(rows.reshape(height, -1), padding)
    close_to(read(encoding, data, width, height, step), from_yuv(y, np.repeat(u, 2, 1), np.repeat(v, 2, 1)))


@settings(deadline=None)
@given(st.sampled_from(["nv12", "nv21"]), even_sizes, paddings, st.integers(0, 2**32))
def test_yuv_in_planes(encoding, size, padding, seed):
    width, height = size
    y = picture(seed, width, height, 1)[:, :, 0]
    u, v = (picture(seed + i, width // 2, height // 2, 1)[:, :, 0] for i in (1, 2))
    pairs = np.stack((u, v) if encoding == "nv12" else (v, u), -1).reshape(height // 2, -1)
    data, step = padded(np.concatenate([y, pairs]), padding)
    big = [plane.repeat(2, 0).repeat(2, 1) for plane in (u, v)]
    close_to(read(encoding, data, width, height, step), from_yuv(y, *big))


@settings(deadline=None)
@given(sizes, paddings, st.integers(0, 2**32))
def test_yuv_in_planes_with_all_colours(size, padding, seed):
    width, height = size
    y, u, v = np.moveaxis(picture(seed, width, height, 3), -1, 0)
    luma, step = padded(y, padding)
    chroma, _ = padded(np.stack((u, v), -1).reshape(height, -1), 2 * padding)
    close_to(read("nv24", luma + chroma, width, height, step), from_yuv(y, u, v))


@settings(deadline=None)
@given(st.sampled_from(ENCODINGS), st.integers(0, 2**32), st.binary(max_size=7))
def test_more_data_than_needed_and_any_kind_of_buffer(encoding, seed, more):
    data = picture(seed, 8 * 8, 4 * 3, 1).tobytes()
    results = [
        read(encoding, form, 8, 4, 64)
        for form in (
            data,
            data + more,
            bytearray(data),
            memoryview(data),
            array.array("B", data),
            np.frombuffer(data, np.uint8),
            np.repeat(np.frombuffer(data, np.uint8), 2)[::2],
        )
    ]
    for out in results:
        np.testing.assert_array_equal(out, results[0])
        assert out.shape == (4, 8, 3)


@settings(deadline=None)
@given(st.sampled_from(ENCODINGS), sizes, st.integers(0, 12))
def test_exactly_as_many_bytes_as_it_takes(encoding, size, padding):
    """One byte less than what is enough is too little, and nothing outside the data is read."""
    width, height = (2 * n for n in size)
    step = 8 * width + padding
    low, high = 0, 8 * step * height
    while low < high:
        middle = (low + high) // 2
        try:
            read(encoding, bytes(middle), width, height, step)
            high = middle
        except UnreadableImage as error:
            assert f"{middle} bytes of data, it takes" in str(error)  # noqa: PT017 - many of them
            low = middle + 1
    assert step * (height - 1) < low <= 3 * step * height


@pytest.mark.parametrize(("encoding", "step"), [*((name, 64) for name in ENCODINGS), ("rgb8", 24)])
def test_the_picture_is_the_callers_own(encoding, step):
    data = bytearray(picture(step, 64, 12, 1).tobytes())
    out = read(encoding, data, 8, 4, step)
    kept = out.copy()
    data[:] = bytes(len(data))
    np.testing.assert_array_equal(out, kept)
    assert out.flags.writeable


@settings(deadline=None)
@given(st.text(max_size=60), st.integers(-5, 2**40), st.integers(-5, 2**40), st.integers(-5, 2**40), st.binary())
def test_nonsense_is_one_line(encoding, width, height, step, data):
    try:
        out = read(encoding, data, width, height, step)
    except UnreadableImage as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - many of them
        assert len(str(error)) < 400  # noqa: PT017
    else:
        assert out.shape == (height, width, 3)


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("rgb", "did you mean rgb"),
        ("bgr_8", "did you mean bgr8?"),
        ("bayer_rgb8", "did you mean bayer_rggb8?"),
        ("yuv422_yuyv", "did you mean yuv422"),
        ("", "encoding '' is not known; known are"),
        ("jpeg", "'jpeg' is not known"),
        ("32FC1", "holds depth or other measurements, no picture"),
        ("16UC1", "holds depth or other measurements, no picture"),
        ("16SC1", "holds depth or other measurements, no picture"),
    ],
)
def test_an_encoding_that_is_none(encoding, told):
    with pytest.raises(UnreadableImage) as caught:
        read(encoding, bytes(1000), 4, 4, 12)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("encoding", "width", "height", "step", "told"),
    [
        ("rgb8", 0, 0, 0, "0x0 of rgb8: it has no pixels"),
        ("rgb8", 4, 0, 12, "4x0 of rgb8: it has no pixels"),
        ("rgb8", 4, 4, 11, "step is 11 bytes, but a row of 4 pixels has 12"),
        ("rgb8", 4, 4, 0, "step is 0 bytes, but a row of 4 pixels has 12"),
        ("mono16", 4, 4, 7, "step is 7 bytes, but a row of 4 pixels has 8"),
        ("rgb8", 10000, 10000, 30000, "100 million pixels, fewer than 100 million are taken"),
        ("rgb8", 2**32 - 1, 2**32 - 1, 2**32 - 1, "million pixels, fewer than"),
        ("rgb8", 4, 4, 12, "40 bytes of data, it takes 48: cut short"),
        ("yuyv", 3, 4, 6, "width must be even"),
        ("nv12", 4, 3, 4, "width and height must be even"),
        ("nv12", 4, 8, 4, "40 bytes of data, it takes 48: cut short"),
    ],
)
def test_sizes_that_do_not_fit(encoding, width, height, step, told):
    with pytest.raises(UnreadableImage) as caught:
        read(encoding, bytes(40), width, height, step)
    assert told in str(caught.value)


def encode(extension, rgb):
    done, data = cv2.imencode(extension, rgb[:, :, ::-1] if rgb.ndim == 3 else rgb)
    assert done
    return data.tobytes()


@pytest.mark.parametrize("format", ["png", "bgr8; png compressed bgr8", "rgb8; png compressed bgr8", ""])
def test_compressed(format):
    rgb = picture(5, 9, 7, 3)
    np.testing.assert_array_equal(compressed_to_rgb(format, encode(".png", rgb)), rgb)


def test_compressed_with_loss_and_in_grey():
    rgb = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    assert np.abs(compressed_to_rgb("jpeg", encode(".jpg", rgb)).astype(int) - rgb).max() < 6
    grey = picture(6, 9, 7, 1)[:, :, 0]
    np.testing.assert_array_equal(compressed_to_rgb("mono8; png compressed ", encode(".png", grey))[:, :, 1], grey)


def test_a_jpeg_that_is_filled_up_behind_its_end():
    rgb = np.full((16, 16, 3), 77, np.uint8)
    assert compressed_to_rgb("jpeg", encode(".jpg", rgb) + bytes(4000)).shape == (16, 16, 3)


def test_compressed_without_swapping_the_colours_first():
    rgb = picture(5, 9, 7, 3)
    data = encode(".png", rgb[:, :, ::-1])
    np.testing.assert_array_equal(compressed_to_rgb("rgb8; png compressed rgb8", data), rgb)


@pytest.mark.parametrize("name", sorted(MOSAICS))
def test_a_mosaic_that_was_compressed(name):
    letters = np.array(["rgb".index(letter) for letter in MOSAICS[name]]).reshape(2, 2)
    mosaic = np.array((200, 100, 50), np.uint8)[np.tile(letters, (4, 4))]
    out = compressed_to_rgb(f"{name}8; png compressed ", encode(".png", mosaic))
    np.testing.assert_array_equal(out, np.broadcast_to(np.array((200, 100, 50), np.uint8), out.shape))


def test_orientation_tags_are_not_obeyed():
    exif = bytes.fromhex("ffe1 0022") + b"Exif\0\0MM\0*\0\0\0\x08" + bytes.fromhex("0001 0112 0003 00000001 0006 0000")
    exif += bytes(4)
    jpeg = encode(".jpg", np.zeros((8, 24, 3), np.uint8))
    assert compressed_to_rgb("jpeg", jpeg[:2] + exif + jpeg[2:]).shape == (8, 24, 3)


def _huge_png():
    data = bytearray(encode(".png", np.zeros((1, 1, 3), np.uint8)))
    data[16:24] = (20_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("format", "data", "told"),
    [
        ("jpeg", b"", "it is empty"),
        ("jpeg", b"no picture", "not an image that can be decoded"),
        ("jpeg", encode(".jpg", np.zeros((8, 8, 3), np.uint8))[:60], "a JPEG of 60 bytes that has no end"),
        ("jpeg", encode(".jpg", np.zeros((99, 99, 3), np.uint8))[:-2], "that has no end: cut short"),
        ("png", encode(".png", np.zeros((8, 8, 3), np.uint8))[:60], "not an image that can be decoded"),
        ("png", _huge_png(), "over 100 million pixels"),
        ("jpeg", bytes(64_000_001), "64 MB of compressed data"),
        ("jpeg", None, "no bytes"),
        ("16UC1; compressedDepth png", b"x", "no picture"),
        ("32FC1; png compressed ", b"x", "no picture"),
        ("bayer_xxxx8; jpeg compressed ", encode(".png", np.zeros((8, 8, 3), np.uint8)), "did you mean bayer_"),
    ],
)
def test_compressed_that_is_none(format, data, told):
    with pytest.raises(UnreadableImage) as caught:
        compressed_to_rgb(format, data)
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16", "1"])
def test_other_pngs_become_rgb(mode):
    buffer = io.BytesIO()
    deep, plain = np.full((8, 10), 0x8000, np.uint16), np.full((8, 10, 3), 255, np.uint8)
    (Image.fromarray(deep) if mode == "I;16" else Image.fromarray(plain).convert(mode)).save(buffer, "PNG")
    found = compressed_to_rgb("png", buffer.getvalue())
    assert found.shape == (8, 10, 3)
    assert (found == (128 if mode == "I;16" else 255)).all()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([".jpg", ".png"]), st.floats(0, 1), st.integers(0, 255), st.floats(0, 1), st.booleans())
def test_a_damaged_file_is_a_picture_or_an_error(suffix, place, value, cut, is_cut):
    data = bytearray(encode(suffix, picture(1, 40, 30, 3)))
    data[int(place * (len(data) - 1))] = value
    try:
        found = compressed_to_rgb("", bytes(data[: int(cut * len(data))] if is_cut else data))
    except UnreadableImage as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - many of them
    else:
        assert found.ndim == 3
        assert found.shape[2] == 3


@settings(deadline=None)
@given(st.text(max_size=100), st.binary(max_size=300))
def test_compressed_nonsense_is_one_line(format, data):
    with pytest.raises(UnreadableImage) as caught:
        compressed_to_rgb(format, data)
    assert len(str(caught.value).splitlines()) == 1
