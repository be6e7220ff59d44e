"""Raw images of every encoding become the picture that was meant, whatever their step, byte order and buffer."""

from __future__ import annotations

import array
from dataclasses import replace

import cv2
import numpy as np
import pytest
from henasy_stream_ros.encodings import ENCODINGS, MOST_PIXELS, ImageError, RawImage, to_rgb
from hypothesis import given, settings
from hypothesis import strategies as st

EXACT = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "8UC1", "8UC3", "8UC4")
DEEP = tuple(name for name in ENCODINGS if name.endswith("16"))
SHARED_COLOUR = tuple(name for name in ENCODINGS if name.startswith(("yuv", "yuyv", "uyvy", "nv")))
BAYER = tuple(name for name in ENCODINGS if name.startswith("bayer"))


def smooth(height: int, width: int) -> np.ndarray:
    """A picture whose colours change slowly, so that what shares or interpolates them stays close to it."""
    y, x = np.mgrid[0:height, 0:width]
    channels = (60 + 120 * x / max(width, 1), 200 - 120 * y / max(height, 1), 80 + 60 * (x + y) / (width + height))
    return np.stack(channels, -1).astype(np.uint8)


def encode(rgb: np.ndarray, encoding: str) -> np.ndarray:
    """The words of an image, (rows, words a row), written down here from the definitions and not from our own table."""
    height, width = rgb.shape[:2]
    if encoding in ("yuyv", "yuv422_yuy2", "uyvy", "yuv422"):
        y, u, v = bt601(rgb)
        rows = np.empty((height, width, 2), np.uint8)
        luma = 0 if encoding.startswith("yuy") or encoding.endswith("yuy2") else 1
        rows[..., luma] = y
        rows[:, 0::2, 1 - luma] = u[:, 0::2]
        rows[:, 1::2, 1 - luma] = v[:, 0::2]
        return rows.reshape(height, -1)
    if encoding in ("nv12", "nv21"):
        y, u, v = bt601(rgb)
        pair = (u, v) if encoding == "nv12" else (v, u)
        colours = np.stack([plane[0::2, 0::2] for plane in pair], -1).reshape(height // 2, width)
        return np.concatenate([y, colours])
    if encoding.startswith("bayer"):
        order = ["rgb".find(letter) for letter in encoding[6:10]]
        mosaic = np.empty((height, width), np.uint8)
        for place, channel in enumerate(order):
            mosaic[place // 2 :: 2, place % 2 :: 2] = rgb[place // 2 :: 2, place % 2 :: 2, channel]
        return mosaic
    if encoding.startswith("mono") or encoding == "8UC1":
        return rgb[..., 0]
    letters = {"8UC3": "bgr", "8UC4": "bgra"}.get(encoding, encoding.rstrip("0123456789"))
    planes = [np.full((height, width), 17, np.uint8) if c == "a" else rgb[..., "rgb".find(c)] for c in letters]
    return np.stack(planes, -1).reshape(height, -1)


def bt601(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r, g, b = (rgb[..., i].astype(np.float64) for i in range(3))
    y = 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255
    u = 128 + (-37.797 * r - 74.203 * g + 112.0 * b) / 255
    v = 128 + (112.0 * r - 93.786 * g - 18.214 * b) / 255
    return tuple(np.round(plane).astype(np.uint8) for plane in (y, u, v))  # type: ignore[return-value]


def image(rgb: np.ndarray, encoding: str, *, padding: int = 0, big: bool = False, tail: bool = True) -> RawImage:
    words = encode(rgb, encoding)
    if encoding.endswith("16"):
        low = np.full_like(words, 0x5A)  # a low byte that must not be taken for the high one
        words = np.stack((words, low) if big else (low, words), -1).reshape(len(words), -1)
    row = words.shape[1]
    padded = np.full((len(words), row + padding), 0xEE, np.uint8)
    padded[:, :row] = words
    data = padded.tobytes() if tail or not padding else padded.tobytes()[:-padding]
    return RawImage(
        width=rgb.shape[1],
        height=rgb.shape[0],
        encoding=encoding,
        step=row + padding,
        data=array.array("B", data),
        is_bigendian=big,
    )


def expected(rgb: np.ndarray, encoding: str) -> np.ndarray:
    return np.repeat(rgb[..., :1], 3, -1) if encoding.startswith("mono") or encoding == "8UC1" else rgb


def test_nothing_is_left_out():
    assert set(ENCODINGS) == {*EXACT, *DEEP, *SHARED_COLOUR, *BAYER}
    assert len(BAYER) == 8
    assert set(SHARED_COLOUR) == {"yuv422", "yuv422_yuy2", "uyvy", "yuyv", "nv12", "nv21"}


@settings(max_examples=150, deadline=None)
@given(
    encoding=st.sampled_from((*EXACT, *(n for n in DEEP if not n.startswith("bayer")))),
    size=st.tuples(st.integers(1, 9), st.integers(1, 13)),
    padding=st.integers(0, 7),
    big=st.booleans(),
    tail=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_very_pixels_come_out(encoding, size, padding, big, tail, seed):
    rgb = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    found = to_rgb(image(rgb, encoding, padding=padding, big=big, tail=tail))
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected(rgb, encoding))


@settings(max_examples=60, deadline=None)
@given(
    encoding=st.sampled_from(SHARED_COLOUR),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    padding=st.integers(0, 5),
    big=st.booleans(),
)
def test_pictures_with_shared_colours_stay_close(encoding, size, padding, big):
    rgb = smooth(32 * size[0], 32 * size[1])
    found = to_rgb(image(rgb, encoding, padding=padding, big=big))
    assert np.abs(found.astype(int) - rgb).max() <= 12


@pytest.mark.parametrize("encoding", SHARED_COLOUR)
@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 120, 10)])
def test_plain_colours_are_exact_to_rounding(encoding, colour):
    rgb = np.full((4, 6, 3), colour, np.uint8)
    assert np.abs(to_rgb(image(rgb, encoding)).astype(int) - rgb).max() <= 3


@pytest.mark.parametrize("encoding", BAYER)
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 3])
def test_mosaics_are_filled_in(encoding, big, padding):
    rgb = smooth(40, 60)
    found = to_rgb(image(rgb, encoding, big=big, padding=padding))
    assert found.shape == rgb.shape
    assert np.abs(found.astype(int) - rgb)[2:-2, 2:-2].max() <= 6


@pytest.mark.parametrize("encoding", BAYER)
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 2), (3, 3), (5, 2)])
def test_tiny_mosaics_hurt_nobody(encoding, size):
    assert to_rgb(image(smooth(*size), encoding)).shape == (*size, 3)


def test_rgb8_is_not_copied():
    raw = image(smooth(4, 5), "rgb8")
    assert np.shares_memory(to_rgb(raw), np.frombuffer(raw.data, np.uint8))


GOOD = image(smooth(6, 8), "rgb8")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"encoding": "rgb9"}, "'rgb9' is not known; there are rgb8"),
        ({"encoding": ""}, "'' is not known"),
        ({"encoding": "x" * 10_000}, "is not known"),
        ({"encoding": "16UC1"}, "depth image"),
        ({"encoding": "32FC1"}, "depth image"),
        ({"width": 0}, "0x6: it has no pixels"),
        ({"height": 0}, "8x0: it has no pixels"),
        ({"width": 0, "height": 0, "data": b"", "step": 0}, "0x0: it has no pixels"),
        ({"width": 10_000, "height": 10_000}, "100 million pixels"),
        ({"width": 2**32 - 1, "height": 2**32 - 1}, "million pixels"),
        ({"step": 23}, "step is 23 bytes, a row of 8 pixels of rgb8 takes 24"),
        ({"step": 0}, "step is 0 bytes"),
        ({"width": 9}, "step is 24 bytes, a row of 9 pixels of rgb8 takes 27"),
        ({"encoding": "rgba8"}, "step is 24 bytes, a row of 8 pixels of rgba8 takes 32"),
        ({"height": 7}, "144 bytes of data, 8x7 rgb8 takes 168: cut short"),
        ({"data": b""}, "0 bytes of data"),
        ({"data": GOOD.data.tobytes()[:-1]}, "143 bytes of data, 8x6 rgb8 takes 144: cut short"),
        ({"data": None}, "no bytes"),
        ({"encoding": "yuyv", "width": 7}, "width must be even"),
        ({"encoding": "nv12", "height": 5}, "width and height must be even"),
        ({"encoding": "nv12", "height": 6, "data": bytes(24 * 7)}, "cut short"),
    ],
)
def test_what_is_no_image_is_told_in_one_line(change, says):
    with pytest.raises(ImageError) as told:
        to_rgb(replace(GOOD, **change))
    assert says in str(told.value)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400


def test_the_largest_image_is_taken():
    width = 10_000
    raw = RawImage(width=width, height=MOST_PIXELS // width, encoding="mono8", step=width, data=bytes(MOST_PIXELS))
    assert to_rgb(raw).shape == (MOST_PIXELS // width, width, 3)
    with pytest.raises(ImageError, match="million pixels"):
        to_rgb(replace(raw, height=raw.height + 1, data=bytes(MOST_PIXELS + width)))


@settings(max_examples=300, deadline=None)
@given(
    encoding=st.sampled_from(ENCODINGS),
    width=st.integers(0, 40),
    height=st.integers(0, 40),
    step=st.integers(0, 400),
    size=st.integers(0, 4000),
    big=st.booleans(),
)
def test_fields_that_contradict_each_other_never_read_beyond_the_data(encoding, width, height, step, size, big):
    raw = RawImage(width=width, height=height, encoding=encoding, step=step, data=bytes(size), is_bigendian=big)
    try:
        found = to_rgb(raw)
    except ImageError:
        return
    assert found.shape == (height, width, 3)


def test_yuv_agrees_with_opencv_on_noise():
    """Where chroma is really shared, the planes that OpenCV itself makes come back as it decodes them."""
    rgb = np.random.default_rng(3).integers(0, 256, (16, 20, 3), np.uint8)
    planar = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    y, u, v = planar[:16], planar[16:20].reshape(8, 10), planar[20:].reshape(8, 10)
    nv12 = np.concatenate([y, np.stack([u, v], -1).reshape(8, 20)])
    raw = RawImage(width=20, height=16, encoding="nv12", step=20, data=nv12.tobytes())
    np.testing.assert_array_equal(to_rgb(raw), cv2.cvtColor(planar, cv2.COLOR_YUV2RGB_I420))
