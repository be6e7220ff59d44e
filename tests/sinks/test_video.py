from __future__ import annotations

import logging
import shutil
from collections import namedtuple
from itertools import pairwise

import cv2
import numpy as np
import pytest

from henasy_stream.errors import UserError
from henasy_stream.sinks import video, window
from henasy_stream.sinks.video import VideoSink, rate_from_gap
from henasy_stream.sinks.window import WindowSink
from henasy_stream.sources import open_source
from henasy_stream.types import Caption, Frame, Perception

Usage = namedtuple("Usage", "total used free")


def perceived(stamp_ns, value=100, size=(64, 48), caption=None):
    image = np.full((size[1], size[0], 3), value, np.uint8)
    frame = Frame(image=image, stamp_ns=stamp_ns, index=0, source="test")
    return Perception(frame=frame, stamp_ns=stamp_ns, window_start_ns=0, window_end_ns=stamp_ns, caption=caption)


def written(path, stamps_ms, values=None, **options):
    """Brightness of every frame of the file, and its rate, after frames of those stamps and values."""
    sink = VideoSink(path, **options)
    for i, stamp in enumerate(stamps_ms):
        sink.write(perceived(round(stamp * 1e6), values[i] if values else 20 * i))
    sink.close()
    assert sink.problem is None
    return played(path)


def played(path):
    fps = cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS)
    with open_source(str(path)) as source:
        return [int(f.image.mean()) for f in source], fps


def near(brightness, expected):
    return len(brightness) == len(expected) and max(abs(a - b) for a, b in zip(brightness, expected, strict=True)) <= 5


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi", "webm"])
def test_every_frame_of_a_steady_source_is_there_once(tmp_path, suffix):
    brightness, fps = written(tmp_path / f"a.{suffix}", [i * 1000 / 30 for i in range(12)])
    assert near(brightness, [20 * i for i in range(12)])
    assert abs(fps - 30) < 0.01


def test_long_gaps_repeat_and_short_ones_drop(tmp_path):
    stamps = [0, 100, 200, 500, 530, 560, 600, 700]
    brightness, fps = written(tmp_path / "a.mp4", stamps, [0, 30, 60, 90, 120, 150, 180, 210])
    assert fps == 10
    assert near(brightness, [0, 30, 60, 60, 60, 120, 180, 210])


def test_time_stays_right_over_a_variable_rate(tmp_path):
    rng = np.random.default_rng(3)
    stamps = np.cumsum(rng.uniform(10, 120, 200))
    brightness, fps = written(tmp_path / "a.mp4", [*stamps], [int(v) for v in np.linspace(0, 250, 200)], fps=25)
    for tick in range(2, len(brightness), 7):
        shown = np.interp(tick / fps * 1000 + stamps[0], stamps, np.linspace(0, 250, 200))
        assert abs(brightness[tick] - shown) < 8


def test_a_long_pause_and_a_clock_that_starts_again_do_not_fill_the_disk(tmp_path):
    hour = 3_600_000
    brightness, _ = written(
        tmp_path / "a.mp4", [0, 100, 200, hour, hour + 100, 5, 105], [0, 40, 80, 120, 160, 200, 240]
    )
    assert len(brightness) == 2 + 50 + 4
    assert near(brightness[:3] + brightness[-4:], [0, 40, 80, 120, 160, 200, 240])


def test_the_rate_can_be_given(tmp_path):
    brightness, fps = written(tmp_path / "a.mp4", [0, 100, 200], fps=20)
    assert fps == 20
    assert len(brightness) == 5


@pytest.mark.parametrize(
    ("gap_ms", "fps"),
    [(33.333333, 30.0), (33.366667, 30000 / 1001), (40, 25), (100, 10), (0, 10), (1, 60), (5000, 1), (36.4, 27.473)],
)
def test_rates_from_the_first_gap(gap_ms, fps):
    assert rate_from_gap(round(gap_ms * 1e6)) == pytest.approx(fps, abs=1e-6)


def test_a_single_frame_makes_a_video(tmp_path):
    brightness, _ = written(tmp_path / "a.mp4", [0], [120])
    assert near(brightness, [120])


def test_without_a_frame_no_file_is_left(tmp_path):
    VideoSink(tmp_path / "a.mp4").close()
    assert not (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize("size", [(1, 1), (17, 900), (63, 47), (641, 480)])
def test_odd_sizes_grow_by_a_pixel(tmp_path, size):
    sink = VideoSink(tmp_path / "a.mp4")
    for i in range(3):
        sink.write(perceived(i * 10**8, 150, size))
    sink.close()
    with open_source(str(tmp_path / "a.mp4")) as source:
        frames = list(source)
    assert [f.image.shape[:2] for f in frames] == [(size[1] + size[1] % 2, size[0] + size[0] % 2)] * 3
    assert abs(frames[-1].image[:, -1].astype(int) - 150).max() < 12


def test_other_sizes_are_fitted_with_black_bars(tmp_path):
    sink = VideoSink(tmp_path / "a.avi")
    for i, size in enumerate([(128, 64), (64, 128), (256, 128)]):
        sink.write(perceived(i * 10**8, 200, size))
    sink.close()
    with open_source(str(tmp_path / "a.avi")) as source:
        first, tall, large = (f.image.mean(2) for f in source)
    assert first.shape == tall.shape == large.shape == (64, 128)
    assert first.min() > 180
    assert large.min() > 180
    assert tall[:, 52:76].min() > 150
    assert tall[:, :40].max() < 40
    assert tall[:, 90:].max() < 40


def test_a_picture_that_was_made_already_is_used(tmp_path):
    sink = VideoSink(tmp_path / "a.mp4")
    sink.write(perceived(0, 10), np.full((48, 64, 3), 220, np.uint8))
    sink.close()
    assert near(played(tmp_path / "a.mp4")[0], [220])


def test_otherwise_the_perception_is_drawn(tmp_path):
    caption = Caption(segment_id=1, text="cut", score=1.0, start_ns=0, end_ns=0, final=False)
    sink = VideoSink(tmp_path / "a.mp4")
    sink.write(perceived(0, 200, (320, 240), caption))
    sink.close()
    with open_source(str(tmp_path / "a.mp4")) as source:
        (frame,) = source
    assert frame.image[-4:].mean() < 120


def test_colours_are_kept(tmp_path):
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 220
    sink = VideoSink(tmp_path / "a.mp4")
    sink.write(perceived(0), red)
    sink.close()
    with open_source(str(tmp_path / "a.mp4")) as source:
        (frame,) = source
    assert frame.image[..., 0].mean() > 180
    assert frame.image[..., 2].mean() < 50


@pytest.mark.parametrize(
    ("name", "said"),
    [("a.gif", "format"), ("a", "format"), ("no/a.mp4", "does not exist"), ("folder.mp4", "directory")],
)
def test_a_file_that_cannot_be_written_is_told_at_once(tmp_path, name, said):
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(UserError, match=said) as caught:
        VideoSink(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fps", [0, -1, 1000, float("nan")])
def test_a_rate_that_is_none(tmp_path, fps):
    with pytest.raises(UserError, match="rate"):
        VideoSink(tmp_path / "a.mp4", fps)


def test_a_full_disk_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 1000))
    with pytest.raises(UserError, match="disk is full"):
        VideoSink(tmp_path / "a.mp4")
    assert not (tmp_path / "a.mp4").exists()


def test_a_disk_that_fills_up_ends_the_video_once_and_leaves_a_whole_file(tmp_path, monkeypatch):
    problems: list[str] = []
    sink = VideoSink(tmp_path / "a.mp4", on_problem=problems.append)
    for i in range(60):
        if i == 30:
            monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 1000))
        sink.write(perceived(i * 10**8, 4 * i))
    sink.close()
    assert len(problems) == 1
    assert "disk is full" in problems[0]
    assert sink.problem == problems[0]
    assert near(played(tmp_path / "a.mp4")[0], [4 * i for i in range(sink.frames)])
    assert 16 <= sink.frames <= 48


def test_problems_are_logged_without_a_listener(tmp_path, monkeypatch, caplog):
    sink = VideoSink(tmp_path / "a.mp4")
    sink.write(perceived(0))
    monkeypatch.setitem(video._CODECS, ".mp4", "none")
    with caplog.at_level(logging.ERROR):
        sink.write(perceived(10**8))
        sink.write(perceived(2 * 10**8))
        sink.close()
    assert sum("no encoder" in r.getMessage() for r in caplog.records) == 1


def test_the_file_is_replaced(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"old" * 100_000)
    assert near(written(tmp_path / "a.mp4", [0, 100], [50, 100])[0], [50, 100])


def test_stamps_of_the_file_rise(tmp_path):
    written(tmp_path / "a.mp4", [0, 33, 70, 100, 133])
    with open_source(str(tmp_path / "a.mp4")) as source:
        assert all(b.stamp_ns > a.stamp_ns for a, b in pairwise(source))


def test_no_window_without_a_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert WindowSink.available() == (False, "no display (neither DISPLAY nor WAYLAND_DISPLAY is set)")


def test_a_display_that_does_not_work_aborts_the_probe_and_not_us(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":987")
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    works, reason = WindowSink.available()
    assert not works
    assert reason


class Screen:
    """Stands in for OpenCV's window functions, of which none works without a display."""

    def __init__(self, monkeypatch):
        self.shown: list[np.ndarray] = []
        self.destroyed, self.key, self.visible = 0, -1, 1.0
        for name in ("namedWindow", "resizeWindow"):
            monkeypatch.setattr(cv2, name, lambda *_: None)
        monkeypatch.setattr(cv2, "imshow", lambda _, image: self.shown.append(image))
        monkeypatch.setattr(cv2, "waitKey", lambda _: self.key)
        monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: self.visible)
        monkeypatch.setattr(cv2, "destroyAllWindows", self.destroy)

    def destroy(self):
        self.destroyed += 1


@pytest.mark.parametrize(("event", "value"), [("key", ord("q")), ("key", 27), ("visible", 0.0)])
def test_the_window_shows_frames_until_it_is_closed(monkeypatch, event, value):
    screen, sink = Screen(monkeypatch), WindowSink()
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 255
    sink.write(perceived(0), red)
    assert not sink.closed
    assert (screen.shown[0][0, 0] == (0, 0, 255)).all()
    setattr(screen, event, value)
    sink.write(perceived(1), red)
    assert sink.closed
    sink.write(perceived(2), red)
    assert len(screen.shown) == 2
    sink.close()
    sink.close()
    assert screen.destroyed == 1


@pytest.mark.parametrize(
    ("size", "shown"), [((384, 288), (640, 480)), ((5000, 3000), (1280, 768)), ((1, 1), (640, 640))]
)
def test_windows_have_a_comfortable_size(size, shown):
    assert window._comfortable(*size) == shown
