"""The mailbox between executor and worker: newest first, what is no image is told, time that jumps starts afresh."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from henasy_stream_ros.rates import Rate
from henasy_stream_ros.topic_source import RosClock, TopicSource

from henasy_stream.sources.base import EndOfSource, SourceBase
from henasy_stream.types import Frame

JPEG = cv2.imencode(".jpg", np.full((64, 64, 3), 90, np.uint8))[1].tobytes()
NOW = 1_700_000_000 * 10**9


def image(value: int = 7, *, sec: int = 100, nanosec: int = 5, frame_id: str = "head", **fields: Any) -> Any:
    """What has the fields of a sensor_msgs/Image of 8x6 grey pixels."""
    whole = {"width": 8, "height": 6, "encoding": "mono8", "step": 8, "is_bigendian": 0, "data": bytes([value] * 48)}
    stamp = SimpleNamespace(sec=sec, nanosec=nanosec)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp, frame_id=frame_id), **(whole | fields))


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        self.now += 1e-4
        return self.now


def read(source: TopicSource, timeout_s: float = 0.2) -> Frame:
    frame = source.read(timeout_s)
    assert frame is not None
    return frame


def test_the_header_comes_through():
    source = TopicSource("/head/image")
    source.put(image(9), NOW)
    frame = read(source)
    assert (frame.stamp_ns, frame.frame_id, frame.source) == (100 * 10**9 + 5, "head", "/head/image")
    assert (frame.clock, frame.stamp_source, frame.index, frame.reset) == ("unix", "device", 0, None)
    assert frame.image.shape == (6, 8, 3)
    assert (frame.image == 9).all()
    assert source.status.state == "RUNNING"


def test_the_newest_wins():
    source = TopicSource("t")
    for value in range(5):
        source.put(image(value, nanosec=value + 1), NOW)
    frame = read(source)
    assert (frame.image == 4).all()
    assert (source.frames_in, source.dropped, frame.index) == (5, 4, 4)
    assert source.read(0.01) is None


def test_compressed_images_are_decoded():
    source = TopicSource("t", compressed=True)
    message = image()
    message.data, message.format = JPEG, "jpeg"
    source.put(message, NOW)
    assert read(source).image.shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"encoding": "rgb9"}, "'rgb9' is not known"),
        ({"data": b"123"}, "cut short"),
        ({"step": 3}, "step is 3 bytes"),
        ({"width": 0, "height": 0}, "no pixels"),
        ({"width": 10_000, "height": 10_000, "step": 10_000}, "100 million"),
    ],
)
def test_what_is_no_image_is_counted_and_told_and_the_next_one_is_taken(fields, says):
    source = TopicSource("t")
    source.put(image(**fields), NOW)
    assert source.read(0.02) is None
    assert source.refused == 1
    assert source.status.state == "SOURCE_LOST"
    assert says in source.status.reason
    assert says in source.notices[-1]
    source.put(image(sec=101), NOW)
    assert read(source).index == 1
    assert (source.status.state, source.status.reason) == ("RUNNING", "")


def test_a_stamp_that_is_none_is_told_once():
    source = TopicSource("t")
    for _ in range(3):
        source.put(image(sec=0, nanosec=0), NOW)
        frame = read(source)
        assert (frame.stamp_source, frame.stamp_ns - NOW < 10) == ("receive", True)
    assert len([n for n in source.notices if "stamped zero" in n]) == 1


def test_before_the_clock_begins_an_image_without_stamp_waits_for_none():
    source = TopicSource("t", clock="media")
    source.put(image(sec=0, nanosec=0), 0)
    assert source.read(0.02) is None
    assert "/clock" in source.status.reason
    source.put(image(sec=3), 0)
    assert read(source).clock == "media"


def test_silence_is_told_until_an_image_comes():
    source = TopicSource("t")
    source.silent("nobody publishes it")
    since = source.status.since_ns
    source.silent("somebody does")
    assert (source.status.state, source.status.reason) == ("SOURCE_LOST", "somebody does")
    assert source.status.since_ns == since
    source.put(image(), NOW)
    read(source)
    assert source.status.state == "RUNNING"


def test_a_jump_forgets_what_waits_and_resets():
    source = TopicSource("t")
    source.put(image(1), NOW)
    source.jumped("ROS time went back by 10.000 s")
    assert source.read(0.01) is None
    source.put(image(2, sec=90), NOW)
    frame = read(source)
    assert frame.reset == "ROS time went back by 10.000 s"
    source.put(image(3, sec=91), NOW)
    assert read(source).reset is None


def test_another_frame_id_is_another_camera():
    source = TopicSource("t")
    source.put(image(frame_id="left"), NOW)
    assert read(source).reset is None
    source.put(image(frame_id="right"), NOW)
    assert read(source).reset == "frame_id changed from 'left' to 'right'"
    assert "more than one camera" in source.notices[-1]


def test_the_rate_is_bounded_and_the_newest_is_taken():
    source = TopicSource("t")
    source.max_rate = 20.0
    stop = threading.Event()

    def flood() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            source.put(image(number % 256, sec=number), NOW)
            time.sleep(0.002)

    thread = threading.Thread(target=flood)
    thread.start()
    started, frames = time.monotonic(), []
    while time.monotonic() - started < 1.0:
        frame = source.read(0.1)
        if frame is not None:
            frames.append(frame)
            assert source.frames_in - frame.index < 60, "an old one was taken"
    stop.set()
    thread.join()
    assert 5 <= len(frames) <= 22


def test_the_end():
    source = TopicSource("t")
    source.close()
    with pytest.raises(EndOfSource):
        source.read(0.1)


def test_waiting_is_no_longer_than_asked():
    source = TopicSource("t")
    started = time.monotonic()
    assert source.read(0.15) is None
    assert 0.1 < time.monotonic() - started < 2.0


def test_how_long_nothing_came():
    clock = Clock()
    source = TopicSource("t", monotonic=clock)
    clock.now += 6
    assert 5.9 < source.silent_s < 6.1
    source.put(image(), NOW)
    assert source.silent_s < 0.1


def test_rates():
    clock = Clock()
    rate = Rate(monotonic=clock)
    assert rate.per_second() == 0
    for _ in range(50):
        clock.now += 0.1
        rate.add()
    assert rate.per_second() == pytest.approx(10, rel=0.02)
    clock.now += 2
    assert 5 < rate.per_second() < 9, "while nothing comes it falls"
    clock.now += 10
    assert rate.per_second() == 0


class Camera(SourceBase):
    live = True

    def __init__(self, clock: Any) -> None:
        super().__init__("camera:0")
        self.clock = clock
        self.closed = False

    def read(self, timeout_s: float = 1.0) -> Frame | None:
        self._frames_in += 1
        self._notice("slow")
        if self.clock is None:
            return None
        blank = np.zeros((2, 2, 3), np.uint8)
        return Frame(image=blank, stamp_ns=time.monotonic_ns(), index=0, source="camera:0", clock=self.clock)

    def close(self) -> None:
        self.closed = True


def test_a_camera_is_stamped_by_ros_time():
    camera = Camera("monotonic")
    source = RosClock(camera, "head")
    frame = source.read()
    assert frame is not None
    assert (frame.clock, frame.frame_id) == ("unix", "head")
    assert abs(frame.stamp_ns - time.time_ns()) < 5 * 10**9
    assert (source.live, source.frames_in, source.dropped, source.notices) == (True, 1, 0, ("slow",))
    assert source.status.state == "RUNNING"
    source.close()
    assert camera.closed


def test_a_file_keeps_its_own_time():
    frame = RosClock(Camera("media"), "head").read()
    assert frame is not None
    assert frame.clock == "media"
    assert RosClock(Camera(None), "head").read() is None


class Film(SourceBase):
    """A file of 20 pictures a second."""

    def read(self, timeout_s: float = 1.0) -> Frame | None:
        self._frames_in += 1
        number = self._frames_in - 1
        blank = np.zeros((2, 2, 3), np.uint8)
        return Frame(image=blank, stamp_ns=number * 50_000_000, index=number, source="film.mp4")


@pytest.mark.parametrize(("max_rate", "seconds"), [(0.0, 1.0), (50.0, 1.0), (10.0, 2.0)])
def test_a_file_is_played_no_faster_than_its_time_goes(max_rate, seconds):
    source = RosClock(Film("film.mp4"), "head")
    source.max_rate = max_rate
    started = time.monotonic()
    indices: list[int] = []
    while len(indices) < 21:
        frame = source.read(0.01)
        if frame is not None:
            indices.append(frame.index)
    assert indices == list(range(21)), "a file's frames all come, in order"
    assert seconds - 0.05 <= time.monotonic() - started < seconds + 5


def test_a_camera_s_rate_is_bounded():
    source = RosClock(Camera("monotonic"), "head")
    source.max_rate = 10.0
    assert source.read(0.05) is not None
    assert source.read(0.02) is None
    assert source.read(5.0) is not None
