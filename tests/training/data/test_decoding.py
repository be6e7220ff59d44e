from __future__ import annotations

import pickle
import struct
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest

from training.data.decoding import Video
from training.data.records import Clip, ClipError, VideoError
from training.data.video_index import read_index

UNEVEN = np.cumsum(np.random.default_rng(0).integers(1, 9, 100)).tolist()
B_FRAMES = {"preset": "ultrafast", "g": "20", "bf": "3"}
OPEN = "open-gop=1:keyint=20:min-keyint=20:bframes=3"
FILES: dict[str, dict[str, Any]] = {
    "plain.mp4": {},
    "b_frames.mp4": {"options": B_FRAMES},
    "open_gop.mp4": {"options": {"x264-params": f"{OPEN}:scenecut=0:b-adapt=0"}},
    "open_gop_hevc.mp4": {"codec": "libx265", "options": {"x265-params": f"{OPEN}:log-level=none"}},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"g": "20", "deadline": "realtime", "cpu-used": "8"}},
    "ntsc.mp4": {"fps": 30000 / 1001},
    "variable.mp4": {"times": UNEVEN, "time_base": Fraction(1, 100)},
    "variable_b_frames.mp4": {"times": UNEVEN, "time_base": Fraction(1, 100), "options": B_FRAMES},
    "b_frames.mkv": {"options": B_FRAMES},
    "b_frames.avi": {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}},
}


@pytest.mark.parametrize("name", FILES)
def test_any_frames_in_any_order_equal_full_decoding(name, tmp_path, write_video, full_decode, numbers):
    path = write_video(tmp_path / name, 100, **FILES[name])
    everything = full_decode(path)
    assert numbers(everything) == list(range(100))
    rng = np.random.default_rng(1)
    with Video(path) as video:
        assert len(video.index) == 100
        for _ in range(12):
            wanted = rng.integers(0, 100, 4)
            np.testing.assert_array_equal(video.frames(wanted), everything[wanted])
        np.testing.assert_array_equal(video.frames(range(100)), everything)


@pytest.mark.parametrize("name", FILES)
def test_one_sweep_at_given_seconds_equals_full_decoding(name, tmp_path, write_video, full_decode):
    path = write_video(tmp_path / name, 100, **FILES[name])
    everything = full_decode(path)
    seconds = np.sort(np.random.default_rng(2).uniform(-0.1, 10.2, 60))
    with Video(path) as video:
        wanted = everything[video.index.nearest(seconds)]
        np.testing.assert_array_equal(np.stack(list(video.at(seconds))), wanted)
        assert list(video.at([])) == []


def test_a_sweep_decodes_a_frame_once(tmp_path, write_video, monkeypatch):
    path = write_video(tmp_path / "a.mp4", 100, options={"preset": "ultrafast", "g": "10"})
    with Video(path) as video:
        decoded: list[int] = []

        def stamp(frame):
            decoded.append(frame.pts)
            return frame.pts

        monkeypatch.setattr("training.data.decoding._upright", stamp)
        pictures = list(video.at(np.repeat(np.arange(100) / 10, 3)))
        assert decoded == video.index.pts.tolist()
        assert pictures == np.repeat(decoded, 3).tolist()


@pytest.mark.parametrize("name", ["plain.mp4", "b_frames.mp4", "open_gop.mp4", "ntsc.mp4"])
def test_the_containers_index_equals_the_packets(name, tmp_path, write_video):
    path = write_video(tmp_path / name, 60, **FILES[name])
    quick, slow = (read_index(str(path), 0, 0, trust) for trust in (True, False))
    np.testing.assert_array_equal(quick.pts, slow.pts)
    assert len(quick.keys) == len(slow.keys)
    assert (quick.keys <= slow.keys).all()
    assert quick.fps == slow.fps == pytest.approx(FILES[name].get("fps", 10), rel=1e-6)


def test_even_files_are_opened_without_reading_their_packets(tmp_path, write_video):
    path = write_video(tmp_path / "a.mp4", 60)
    data = bytearray(path.read_bytes())
    place = data.find(b"mdat") + 4
    data[place : place + 400] = bytes(400)
    path.write_bytes(data)
    with Video(path) as video:
        assert len(video.index) == 60


def test_nearest_frame_of_a_variable_rate(tmp_path, write_video):
    path = write_video(tmp_path / "v.mp4", 5, times=[0, 10, 11, 40, 50], time_base=Fraction(1, 100))
    with Video(path) as video:
        assert video.index.nearest([-1, 0, 0.04, 0.06, 0.12, 0.3, 0.45, 9]).tolist() == [0, 0, 0, 1, 2, 3, 3, 4]
        assert video.index.fps == pytest.approx(4 / 0.5)
        assert video.index.duration == pytest.approx(0.5 + 0.5 / 4)


def test_nearest_frame_of_a_single_one(tmp_path, write_video):
    with Video(write_video(tmp_path / "one.mp4", 1)) as video:
        assert video.index.nearest([0, 3]).tolist() == [0, 0]
        assert video.index.fps == pytest.approx(10)


@pytest.mark.parametrize(("degrees", "matrix"), [(90, (0, 1, -1, 0)), (180, (-1, 0, 0, -1)), (270, (0, -1, 1, 0))])
def test_pictures_stand_upright(degrees, matrix, tmp_path, write_video):
    path = write_video(tmp_path / "phone.mp4", 30)
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 4 + 4 + 20 + 16
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    reader = cv2.VideoCapture(str(path))
    reference = [reader.read()[1][..., ::-1] for _ in range(18)][-1]
    with Video(path) as video:
        picture = video.frames([17])[0]
    assert picture.shape == reference.shape
    assert np.abs(picture.astype(int) - reference).mean() < 2


def test_what_is_no_video_is_an_error_that_names_the_file(tmp_path, write_video):
    whole = write_video(tmp_path / "whole.mp4", 40).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    for name in ("cut.mp4", "text.mp4", "empty.mp4", "absent.mp4"):
        with pytest.raises(VideoError, match=name):
            Video(tmp_path / name)


def test_a_file_cut_off_behind_its_index_gives_what_it_has(tmp_path, write_video, numbers):
    path = write_video(tmp_path / "cut.mp4", 100, options=B_FRAMES, faststart=True)
    data = path.read_bytes()
    path.write_bytes(data[: data.find(b"mdat") + (len(data) - data.find(b"mdat")) // 2])
    with Video(path) as video:
        assert numbers(video.frames([3])) == [3]
        with pytest.raises(VideoError, match=r"cut\.mp4"):
            video.frames([95])


def test_damage_never_gives_another_picture(tmp_path, write_video, full_decode):
    path = write_video(tmp_path / "good.mp4", 60, options=B_FRAMES)
    data, good = path.read_bytes(), full_decode(path)
    first, last = data.find(b"mdat") + 4, data.find(b"moov") - 4
    rng = np.random.default_rng(2)

    def read(path, number):
        try:
            with Video(path) as video:
                return video.frames([number])[0]
        except VideoError as error:
            return str(error)

    refused = 0
    for trial in range(20):
        bad = tmp_path / f"bad{trial}.mp4"
        at = int(rng.integers(first, last - 300))
        bad.write_bytes(data[:at] + rng.bytes(300) + data[at + 300 :])
        for number in (5, 30, 59):
            got = read(bad, number)
            if isinstance(got, str):
                refused += 1
                assert bad.name in got
            else:
                np.testing.assert_array_equal(got, good[number])
    assert refused


def test_numbers_beyond_the_file_are_a_callers_mistake(tmp_path, write_video):
    with Video(write_video(tmp_path / "a.mp4", 10)) as video, pytest.raises(IndexError, match="which has 10"):
        video.frames([10])


def test_errors_survive_the_way_from_a_worker_process():
    clip = Clip(video="v", start=1, end=2)
    for error in (VideoError("a.mp4", "why"), ClipError(clip, "a.mp4", "why")):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy)) == (type(error), str(error))
    assert str(ClipError(clip, "a.mp4", "why")) == "clip v 1-2 s can't be read: a.mp4: why"
