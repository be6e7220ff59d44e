from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from henasy_stream.errors import UserError
from henasy_stream.sources import EndOfSource, _containers, open_source
from henasy_stream.sources._stamps import MediaClock, plausible_fps
from henasy_stream.sources.files import FileSource


def frames_of(path):
    with open_source(str(path)) as source:
        frames = list(source)
        return frames, source.notices


def error_of(path):
    with pytest.raises(UserError) as caught:
        open_source(str(path))
    text = str(caught.value)
    assert "\n" not in text
    assert Path(path).name in text
    return text


@pytest.mark.parametrize(
    ("name", "fourcc"),
    [("a.mp4", "mp4v"), ("a.avi", "MJPG"), ("a.mkv", "mp4v"), ("a.webm", "VP90"), ("a.mov", "mp4v"), ("a.ts", "mp2v")],
)
def test_every_frame_in_order_with_its_time(videos, name, fourcc):
    frames, notices = frames_of(videos.write(name, frames=12, fourcc=fourcc))
    assert [f.index for f in frames] == list(range(12))
    brightness = [int(f.image[20, 10].mean()) for f in frames]
    assert np.abs(np.array(brightness) - 8 * np.arange(12)).max() <= 6
    assert np.abs(np.array([f.stamp_ns for f in frames]) / 1e9 - np.arange(12) / 30).max() < 1e-3  # mkv rounds to 1 ms
    assert frames[0].stamp_ns == 0
    assert {(f.clock, f.stamp_source, f.reset) for f in frames} == {("media", "file", None)}
    assert notices == ()


def test_images_are_rgb(tmp_path):
    red = Image.new("RGB", (32, 32), (250, 0, 0))
    red.save(tmp_path / "red.gif", save_all=True, append_images=[Image.new("RGB", (32, 32), (0, 0, 250))], duration=50)
    frames, _ = frames_of(tmp_path / "red.gif")
    assert frames[0].image[16, 16, 0] > 200
    assert frames[0].image[16, 16, 2] < 50
    assert frames[0].image.dtype == np.uint8


def test_variable_rate_of_mp4_is_kept(videos):
    clip = videos.write("a.mp4", frames=6, fps=30)
    data = clip.read_bytes()
    at = data.find(b"mdhd")
    timescale = int.from_bytes(data[at + 16 : at + 20], "big")
    seconds = [0.02, 0.01, 0.08, 0.02, 0.05, 0.02]  # as long in all as before: the edit list cuts at the old end
    frames, _ = frames_of(videos.set_durations(clip, [round(s * timescale) for s in seconds]))
    expected = np.cumsum([0.0, *seconds[:-1]])
    assert np.allclose([f.stamp_ns / 1e9 for f in frames], expected, atol=1.5 / timescale)


def test_variable_rate_of_gif_is_kept(tmp_path):
    pictures = [Image.new("L", (20, 20), 40 * i) for i in range(5)]
    durations = [100, 50, 400, 30, 100]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=durations)
    frames, _ = frames_of(tmp_path / "a.gif")
    assert [f.stamp_ns // 1_000_000 for f in frames] == [0, 100, 150, 550, 580]


@pytest.mark.parametrize(
    ("degrees", "bright"), [(90, np.s_[5, 24]), (180, np.s_[24, 60]), (270, np.s_[60, 24])], ids=["90", "180", "270"]
)
def test_rotation_metadata_is_obeyed(videos, degrees, bright):
    frames, _ = frames_of(videos.rotate(videos.write("a.mp4", frames=20), degrees))
    upright = frames[-1].image
    assert upright.shape == ((64, 48, 3) if degrees != 180 else (48, 64, 3))
    assert upright[bright].mean() > 100
    assert upright[::-1, ::-1][bright].mean() < 40
    assert [f.stamp_ns for f in frames][:2] == [0, 33_333_333]


def test_one_frame(videos):
    frames, notices = frames_of(videos.write("one.mp4", frames=1))
    assert len(frames) == 1
    assert frames[0].stamp_ns == 0
    assert notices == ()


def test_reading_on_after_the_end_says_end(videos):
    source = FileSource(str(videos.write("a.mp4", frames=2)))
    assert len(list(source)) == 2
    with pytest.raises(EndOfSource):
        source.read()


def test_cut_off_mp4_gives_what_decodes_and_says_what_is_missing(videos):
    frames, notices = frames_of(videos.cut(videos.index_first(videos.write("a.mp4", frames=30, size=(160, 120))), 0.6))
    assert 5 < len(frames) < 30
    (notice,) = notices
    counted = re.search(r"(\d+) frames decoded, (\d+) of 30 frames are missing", notice)
    assert counted is not None, notice
    assert int(counted[1]) == len(frames)
    assert int(counted[1]) + int(counted[2]) == 30


@pytest.mark.parametrize(("name", "fourcc"), [("a.mkv", "mp4v"), ("a.avi", "MJPG")])
def test_cut_off_file_of_other_kinds_is_noticed(videos, name, fourcc):
    whole = videos.write(name, frames=30, size=(320, 240), fourcc=fourcc)
    frames, notices = frames_of(videos.cut(whole, 0.6))
    assert 1 <= len(frames) < 30
    assert "cut off" in notices[0]
    assert f"{len(frames)} frames decoded" in notices[0]


def test_mp4_without_its_index_says_how_to_mend_it(videos):
    assert "untrunc" in error_of(videos.cut(videos.write("a.mp4", frames=30), 0.6))


def test_damaged_frames_are_counted(videos):
    clip = videos.write("a.avi", frames=10, fourcc="MJPG", size=(64, 48))
    data = bytearray(clip.read_bytes())
    at = [m.start() for m in re.finditer(b"00dc", bytes(data[: data.rfind(b"idx1")]))]
    for position in at[3:5]:
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        data[position + 8 : position + 8 + size] = bytes(size)
    clip.write_bytes(data)
    frames, notices = frames_of(clip)
    assert len(frames) == 8
    assert "2 of 10 frames did not decode" in notices[0]


def test_frames_outside_the_edit_list_are_counted(videos):
    frames, notices = frames_of(videos.set_durations(videos.write("a.mp4", frames=6, fps=30), [10_000_000] * 6))
    assert len(frames) < 6
    assert f"{6 - len(frames)} of 6 frames" in notices[0]


def test_missing_file_suggests_the_closest_name(videos):
    videos.write("kitchen_01.mp4", frames=1)
    assert "kitchen_01.mp4" in error_of(videos.folder / "kitchen_1.mp4").split("did you mean")[1]


def test_missing_folder_is_named(tmp_path):
    assert f"{tmp_path / 'no'} does not exist" in error_of(tmp_path / "no" / "a.mp4")


def test_empty_file(tmp_path):
    (tmp_path / "a.mp4").touch()
    assert "empty" in error_of(tmp_path / "a.mp4")


@pytest.mark.parametrize("name", ["a.mp4", "a.txt"])
def test_text_is_no_video(tmp_path, name):
    (tmp_path / name).write_text("Ein Text über Küchen\n" * 400)
    assert "text" in error_of(tmp_path / name)


def test_random_bytes_are_no_video(tmp_path):
    (tmp_path / "a.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    assert "not a video" in error_of(tmp_path / "a.mp4")


def test_no_permission(videos, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_containers, "inspect", refuse)  # root may read everything
    assert "permission" in error_of(videos.write("a.mp4", frames=1))


def test_colon_in_the_name(videos):
    path = videos.write("a.mp4", frames=2)
    renamed = path.rename(path.with_name("http:a.mp4"))
    frames, _ = frames_of(renamed)
    assert len(frames) == 2


def test_resolution_that_changes_inside_a_file_never_breaks_the_stream(tmp_path):
    jpegs = [cv2.imencode(".jpg", np.full((h, w, 3), 90, np.uint8))[1].tobytes() for w, h in [(64, 48), (160, 120)]]
    (tmp_path / "a.mjpeg").write_bytes(jpegs[0] * 5 + jpegs[1] * 5)
    frames, _ = frames_of(tmp_path / "a.mjpeg")
    assert len(frames) == 10
    sizes = [f.image.shape for f in frames]
    assert [f.reset is not None for f in frames] == [
        i > 0 and a != b for i, (a, b) in enumerate(zip(sizes, sizes[:1] + sizes, strict=False))
    ]
    assert all(b.stamp_ns > a.stamp_ns for a, b in pairwise(frames))


class ScriptedFile:
    """A capture that plays pictures and times from a list."""

    def __init__(self, pictures, fps=10.0):
        self.pictures, self.fps, self.position = pictures, fps, -1

    def isOpened(self):  # noqa: N802
        return True

    def grab(self):
        self.position += 1
        return self.position < len(self.pictures)

    def retrieve(self):
        image = self.pictures[self.position][0]
        return image is not None, image

    def get(self, prop):
        return {
            cv2.CAP_PROP_FPS: self.fps,
            cv2.CAP_PROP_FRAME_COUNT: len(self.pictures),
            cv2.CAP_PROP_POS_MSEC: self.pictures[self.position][1],
        }.get(prop, 0.0)

    def set(self, prop, value):
        return True

    def release(self):
        pass


def scripted(pictures, **kwargs):
    return FileSource("http://host/a.mp4", open_capture=lambda _: ScriptedFile(pictures, **kwargs))


def test_a_capture_that_hands_over_another_size_is_a_reset():
    small, large = np.zeros((4, 6, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)
    frames = list(scripted([(small, 0), (small, 100), (large, 200), (large, 300)]))
    assert [f.reset for f in frames] == [None, None, "resolution changed to 9x8", None]


def test_a_container_without_times_follows_its_rate_and_says_so():
    image = np.zeros((4, 6, 3), np.uint8)
    source = scripted([(image, 0.0)] * 4, fps=20.0)
    assert [f.stamp_ns for f in source] == [0, 50_000_000, 100_000_000, 150_000_000]
    assert "20 frames per second" in source.notices[0]


def test_credentials_of_a_url_stay_out_of_frames_and_errors():
    image = np.zeros((4, 6, 3), np.uint8)
    source = FileSource("https://me:secret@host/a.mp4", open_capture=lambda _: ScriptedFile([(image, 0.0)]))
    assert source.uri == next(iter(source)).source == "https://***@host/a.mp4"


def test_a_clock_that_jumps_back_goes_on_and_says_so():
    clock = MediaClock(10.0)
    stamps = [clock.stamp(ms) for ms in (0, 100, 5000, 5100, -900, -800)]
    assert [s // 1_000_000 for s, _ in stamps] == [0, 100, 5000, 5100, 5200, 5300]
    assert [reset is not None for _, reset in stamps] == [False, False, False, False, True, False]


def test_a_repeated_time_falls_back_into_step():
    clock = MediaClock(10.0)
    assert [clock.stamp(ms)[0] // 1_000_000 for ms in (0, 100, 100, 200, 300)] == [0, 100, 150, 200, 300]


@given(
    st.lists(st.one_of(st.floats(-1e7, 1e7), st.sampled_from([0.0, float("nan"), -3.7e20])), min_size=1, max_size=60)
)
def test_stamps_always_rise_from_zero(times):
    clock = MediaClock(30.0)
    stamps = [clock.stamp(ms)[0] for ms in times]
    assert stamps[0] == 0
    assert all(b > a for a, b in pairwise(stamps))


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=40), st.integers(-5000, 5000))
def test_rising_times_are_kept_exactly(gaps_ms, start_ms):
    times = np.cumsum([start_ms, *gaps_ms])
    clock = MediaClock(30.0)
    stamps = [clock.stamp(float(t))[0] for t in times]
    expected = (times - start_ms) * 1_000_000
    if 0 not in times[1:]:  # 0 is also how OpenCV says "none"
        assert stamps == expected.tolist()


@pytest.mark.parametrize(("fps", "plausible"), [(0, False), (29.97, True), (90000, False), (float("nan"), False)])
def test_rates_that_no_camera_has_are_not_believed(fps, plausible):
    assert (plausible_fps(fps) is not None) == plausible
