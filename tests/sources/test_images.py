from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from henasy_stream.errors import UserError
from henasy_stream.sources import images as images_module
from henasy_stream.sources import open_source
from henasy_stream.sources.images import ImageSource, list_images, natural_key, read_image, split_query


def picture(width=30, height=20, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def error_of(uri):
    with pytest.raises(UserError) as caught:
        open_source(str(uri))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path):
    for i in (1, 2, 10, 11):
        save(tmp_path / f"img_{i}.png", np.full((20, 30, 3), i, np.uint8))
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_a_folder_plays_in_natural_order_at_ten_per_second(folder):
    with open_source(str(folder)) as source:
        frames = list(source)
    assert [int(f.image[0, 0, 0]) for f in frames] == [1, 2, 10, 11]
    assert [f.stamp_ns for f in frames] == [0, 100_000_000, 200_000_000, 300_000_000]
    assert {(f.clock, f.stamp_source, f.reset, f.source) for f in frames} == {("media", "file", None, str(folder))}


def test_the_rate_is_an_option(folder):
    frames = list(open_source(f"{folder}?fps=4"))
    assert [f.stamp_ns for f in frames] == [0, 250_000_000, 500_000_000, 750_000_000]


def test_a_pattern_with_a_question_mark_and_a_rate(folder):
    frames = list(open_source(f"{folder}/img_??.png?fps=2"))
    assert [int(f.image[0, 0, 0]) for f in frames] == [10, 11]
    assert frames[1].stamp_ns == 500_000_000


def test_a_single_image(folder):
    (frame,) = open_source(str(folder / "img_2.png"))
    assert frame.image.shape == (20, 30, 3)


def test_natural_order():
    names = ["b1", "a10", "A2", "a2b10", "a2b9", "a", "10", "9"]
    assert sorted(names, key=lambda name: natural_key(Path(name))) == [
        "9",
        "10",
        "a",
        "A2",
        "a2b9",
        "a2b10",
        "a10",
        "b1",
    ]


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "LA", "RGBA"])
def test_every_kind_of_png_is_what_pillow_shows(tmp_path, mode):
    image = Image.fromarray(picture()).convert(mode)
    image.save(tmp_path / "a.png")
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    expected = np.asarray(Image.alpha_composite(black, image.convert("RGBA")).convert("RGB"), np.int16)
    assert np.abs(read_image(tmp_path / "a.png").astype(np.int16) - expected).max() <= 1


def test_transparent_pixels_are_black(tmp_path):
    image = np.full((4, 4, 4), 200, np.uint8)
    image[:2, :, 3] = 0
    image[2:, :, 3] = 128
    out = read_image(save(tmp_path / "a.png", image))
    assert (out[:2] == 0).all()
    assert np.abs(out[2:].astype(int) - 100).max() <= 1


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_scaled_by_their_full_range(tmp_path, suffix):
    values = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), values)
    out = read_image(tmp_path / f"a.{suffix}")
    assert np.abs(out.astype(float) - values[..., None] / 257).max() <= 0.51


def test_sixteen_bit_colour_keeps_its_channels(tmp_path):
    bgr = np.zeros((2, 2, 3), np.uint16)
    bgr[..., 2] = 65535
    cv2.imwrite(str(tmp_path / "a.png"), bgr)
    assert (read_image(tmp_path / "a.png") == (255, 0, 0)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
def test_exif_orientation_is_obeyed(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    smooth = cv2.resize(picture(4, 3), (48, 32), interpolation=cv2.INTER_CUBIC)  # survives compression
    path = (
        save(tmp_path / f"a.{suffix}", smooth, exif=exif, quality=95)
        if suffix != "tiff"
        else save(tmp_path / "a.tiff", smooth, exif=exif)
    )
    raw = Image.fromarray(smooth)
    raw.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(raw), np.int16)
    out = read_image(path)
    assert out.shape == expected.shape
    assert np.abs(out.astype(np.int16) - expected).mean() < 12


@pytest.mark.parametrize("size", [(1, 1), (5000, 3000), (17, 900)])
def test_odd_sizes(tmp_path, size):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((size[1], size[0], 3), 7, np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    (frame,) = open_source(str(tmp_path))
    assert (frame.width, frame.height) == size


def test_an_image_that_does_not_decode_is_left_out_and_its_time_stays_empty(folder):
    (folder / "img_2.png").write_bytes(b"\x89PNG junk")
    (folder / "img_10.png").write_bytes(b"")
    with ImageSource(str(folder)) as source:
        frames = list(source)
    assert [f.stamp_ns for f in frames] == [0, 300_000_000]
    assert [f.index for f in frames] == [0, 1]
    assert source.skipped == 2
    assert "img_2.png" in source.notices[0]
    assert "2 of 4 images left out" in source.notices[1]


def test_an_image_that_is_cut_off_does_not_end_the_folder(folder):
    whole = save(folder / "img_3.png", picture(300, 200)).read_bytes()
    (folder / "img_3.png").write_bytes(whole[: len(whole) // 2])
    frames = list(open_source(str(folder)))
    assert [int(f.image[0, 0, 0]) for f in frames if f.width == 30] == [1, 2, 10, 11]


def test_float_images_are_left_out_with_the_reason(folder):
    cv2.imwrite(str(folder / "a.tiff"), np.ones((4, 4), np.float32))
    source = open_source(str(folder))
    assert len(list(source)) == 4
    assert "float32" in source.notices[0]


def test_another_size_is_a_reset(tmp_path):
    for i, size in enumerate([(30, 20), (30, 20), (20, 30), (20, 30), (30, 20)]):
        save(tmp_path / f"{i}.png", picture(*size))
    resets = [f.reset for f in open_source(str(tmp_path))]
    changed = "resolution changed to "
    assert resets == [None, None, changed + "20x30", None, changed + "30x20"]


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = save(tmp_path / "bomb.png", np.zeros((120, 100), np.uint8))
    monkeypatch.setattr(images_module, "MAX_PIXELS", 10_000)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    assert "million pixels" in error_of(path)


def test_a_huge_header_is_refused(tmp_path):
    data = bytearray(save(tmp_path / "a.png", picture()).read_bytes())
    data[16:24] = (200_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(data)
    assert "100 million pixels" in error_of(tmp_path / "a.png")


def test_a_folder_of_unreadable_images_says_so(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"junk")
    assert "none of the 2 images" in error_of(tmp_path)


def test_an_empty_folder(tmp_path):
    assert "is empty" in error_of(tmp_path)


def test_a_folder_that_holds_a_video_suggests_it(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"x")
    assert "clip.mp4" in error_of(tmp_path)


def test_a_pattern_without_matches(tmp_path):
    assert "matches no file" in error_of(tmp_path / "*.png")


def test_a_missing_image_suggests_the_closest(folder):
    assert "img_10.png" in error_of(folder / "imgg_10.png")


@pytest.mark.parametrize("rate", ["0", "-3", "fast", "nan", "inf", ""])
def test_a_rate_that_is_none(folder, rate):
    assert "fps" in error_of(f"{folder}?fps={rate}")


def test_an_unknown_option_is_named(folder):
    assert "'rate'" in error_of(f"{folder}?rate=3")


def test_a_name_that_looks_like_an_option_is_a_name(tmp_path):
    path = save(tmp_path / "a?fps=3.png", picture())
    assert split_query(str(path)) == (str(path), None)
    assert list_images(str(path)) == [path]
