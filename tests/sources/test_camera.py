"""Scripts of faults, played by capture objects; no physical camera."""

from __future__ import annotations

import errno
import http.server
import struct
import threading
import time
from itertools import count, pairwise, repeat

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from henasy_stream.errors import UserError
from henasy_stream.sources import CameraOptions, EndOfSource, SourceStatus, _v4l2, open_source
from henasy_stream.sources._connection import Limits
from henasy_stream.sources._stamps import RateCheck, StampRule
from henasy_stream.sources.camera import CameraSource, StreamSource
from henasy_stream.types import Frame

FAST = Limits(open_s=1.0, first_s=0.3, read_s=0.15, freeze_s=0.3, backoff_s=(0.05, 0.1))
MJPG, YUYV = (cv2.VideoWriter.fourcc(*code) for code in ("MJPG", "YUYV"))
FAIL, HANG, CRASH = "fail", "hang", "crash"


def pictures(start=0, shape=(24, 32, 3)):
    for i in count(start):
        yield np.random.default_rng(i).integers(0, 255, shape, dtype=np.uint8)


def then(*parts):
    """A script: arrays are pictures, words are faults; `(n, iterable)` takes n of them."""
    for part in parts:
        if isinstance(part, tuple):
            number, items = part
            yield from (item for item, _ in zip(items, range(number), strict=False))
        elif isinstance(part, str | np.ndarray):
            yield part
        else:
            yield from part


class Script:
    """Opens one capture per connection; each plays its own part, the last one again and again."""

    def __init__(self, *parts, opens=(), interval_s=0.005, **properties):
        self.parts, self.opens, self.interval_s = list(parts), list(opens), interval_s
        self.properties = {cv2.CAP_PROP_FRAME_WIDTH: 32, cv2.CAP_PROP_FRAME_HEIGHT: 24, cv2.CAP_PROP_FOURCC: YUYV}
        self.properties |= properties.get("properties", {})
        self.fixed = properties.get("fixed", ())
        self.opened: list[Played] = []
        self.paths: list[str] = []
        self.release_hangs = threading.Event()

    def __call__(self, path):
        self.paths.append(path)
        position = min(len(self.opened), len(self.parts) - 1)
        works = self.opens[len(self.opened)] if len(self.opened) < len(self.opens) else True
        played = Played(self, iter(self.parts[position]()), works)
        self.opened.append(played)
        return played


class Played:
    def __init__(self, script, steps, works):
        self.script, self.steps, self.works = script, steps, works
        self.properties = dict(script.properties)
        self.calls: list[tuple[int, float]] = []
        self.picture = None
        self.released = False

    def isOpened(self):  # noqa: N802
        return self.works

    def grab(self):
        assert not self.released
        time.sleep(self.script.interval_s)
        step = next(self.steps, FAIL)
        if isinstance(step, str):
            if step == HANG:
                self.script.release_hangs.wait()
            if step == CRASH:
                raise cv2.error("decoder")
            return False
        self.picture = step
        self.properties[cv2.CAP_PROP_POS_MSEC] = self.script.properties.get(
            cv2.CAP_PROP_POS_MSEC, lambda: time.monotonic() * 1000 - 20
        )()
        return True

    def retrieve(self):
        return True, self.picture

    def get(self, prop):
        return self.properties.get(prop, 0.0)

    def set(self, prop, value):
        self.calls.append((prop, value))
        if prop not in self.script.fixed:
            self.properties[prop] = value
        return True

    def release(self):
        self.released = True


@pytest.fixture
def device(tmp_path):
    path = tmp_path / "video0"
    path.touch()
    return path


@pytest.fixture
def camera(device):
    """Opens a camera that plays a script."""
    opened = []

    def start(script, options=None, **kwargs):
        source = CameraSource(str(device), options or CameraOptions(), open_capture=script, limits=FAST, **kwargs)
        opened.append((source, script))
        return source

    yield start
    for source, script in opened:
        script.release_hangs.set()
        source.close()


def take(source, number, timeout_s=3.0):
    frames: list[Frame] = []
    deadline = time.monotonic() + timeout_s
    while len(frames) < number:
        assert time.monotonic() < deadline, f"{len(frames)} frames of {number}; {source.status}"
        frame = source.read(0.05)
        if frame is not None:
            frames.append(frame)
    return frames


def wait_for(condition, timeout_s=3.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def until_lost(source, reason, timeout_s=3.0):
    deadline = time.monotonic() + timeout_s
    while source.status.state != "SOURCE_LOST":
        assert time.monotonic() < deadline
        source.read(0.02)
    assert reason in source.status.reason
    return source.status


def test_frames_of_a_camera_that_works(camera):
    source = camera(Script(pictures))
    frames = take(source, 10)
    assert source.live
    assert source.status.state == "RUNNING"
    assert frames[0].image.dtype == np.uint8
    first = next(pictures())
    assert (frames[0].image == first[:, :, ::-1]).all() or frames[0].index > 0
    assert [f.index for f in frames] == sorted({f.index for f in frames})
    assert all(b.stamp_ns > a.stamp_ns for a, b in pairwise(frames))
    assert {f.reset for f in frames} == {None}
    assert {(f.clock, f.stamp_source) for f in frames} == {("monotonic", "device")}


def test_stamps_are_the_drivers_where_plausible(camera):
    (frame,) = take(camera(Script(pictures)), 1)
    age_s = (time.monotonic_ns() - frame.stamp_ns) / 1e9
    assert 0.019 < age_s < 1.0


@pytest.mark.parametrize("driver_ms", [lambda: 0.0, lambda: time.time() * 1000, lambda: -1.0, lambda: float("nan")])
def test_stamps_are_of_receipt_where_the_drivers_are_not_plausible(camera, driver_ms):
    (frame,) = take(camera(Script(pictures, properties={cv2.CAP_PROP_POS_MSEC: driver_ms})), 1)
    assert frame.stamp_source == "receive"
    assert 0 <= time.monotonic_ns() - frame.stamp_ns < 1e9


@pytest.mark.parametrize(
    ("driver_ms", "doubt"),
    [
        (lambda i: 0.0, "are zero"),
        (lambda i: time.monotonic() * 1000 - 20 if i < 3 else 0.0, "are zero"),
        (lambda i: time.monotonic() * 1000 + (5000 if i > 3 else -20), "lie in the future"),
        (lambda i: time.monotonic() * 1000 - (500 if i > 3 else 20), "go back"),
        (lambda i: time.monotonic() * 1000 - 5000, "are more than a second old"),
    ],
    ids=["zero", "zero later", "forth", "back", "old"],
)
def test_stamps_that_jump_are_told_once_and_replaced(camera, driver_ms, doubt):
    number = count()
    source = camera(Script(pictures, properties={cv2.CAP_PROP_POS_MSEC: lambda: driver_ms(next(number))}))
    frames = take(source, 12)
    assert frames[-1].stamp_source == "receive"
    assert all(b.stamp_ns > a.stamp_ns for a, b in pairwise(frames))
    assert 0 <= time.monotonic_ns() - frames[-1].stamp_ns < 1e9
    assert [doubt in n for n in source.notices if "the driver's stamps" in n] == [True]


def test_pictures_that_waited_in_the_driver_while_nobody_took_them_keep_their_stamps():
    rule, second = StampRule(), 1_000_000_000
    rule.stamp(100 * second, 99_990.0)
    assert rule.stamp(110 * second, 100_030.0) == 100_030_000_000  # the first of four that waited for 10 s
    assert rule.stamp(110 * second + 1, 109_990.0) == 109_990_000_000
    assert rule.doubt == ""
    assert rule.stamp(111 * second, 100_040.0) == 111 * second
    assert rule.doubt == "go back"


def test_a_black_picture_is_told_and_no_freeze(camera):
    black = np.zeros((24, 32, 3), np.uint8)
    source = camera(Script(lambda: then((3, pictures()), (120, repeat(black)), pictures(9))))
    wait_for(lambda: source.status.reason)
    assert source.status.state == "RUNNING"
    assert "black all over" in source.status.reason
    assert any("black all over" in notice for notice in source.notices)
    since = source.status.since_ns
    wait_for(lambda: not source.status.reason)
    assert source.status == SourceStatus(state="RUNNING", reason="", since_ns=since)


def test_a_connection_that_refuses_at_once_has_ended(camera, device):
    script = Script(lambda: then((5, pictures())), interval_s=0.0)
    limits = Limits(open_s=1.0, first_s=9.0, read_s=9.0, ended_s=0.1, backoff_s=(0.5,))
    with CameraSource(str(device), CameraOptions(), open_capture=script, limits=limits) as source:
        until_lost(source, "the camera ended")


def test_what_a_decoder_still_held_when_the_connection_stalled_is_not_delivered(camera, device):
    """FFmpeg's way out of a read that timed out: it hands over a picture, seconds old, as if it had just come."""

    def stalls():
        for number, picture in enumerate(pictures()):
            time.sleep(0.5 if number == 10 else 0.01)
            yield picture

    limits = Limits(open_s=1.0, stalled_s=0.4, backoff_s=(9.0,))
    script = Script(stalls, interval_s=0.0)
    with CameraSource(str(device), CameraOptions(), open_capture=script, limits=limits) as source:
        until_lost(source, "no picture from the camera")
        assert source.frames_in == 10


def test_a_reader_that_slept_finds_no_old_pictures(camera, device):
    """The grabber was away, as in a process that was stopped; what piled up is counted as dropped and not delivered."""
    asleep = iter([0.02] * 30 + [1.0] + [0.0] * 40 + [0.02] * 1000)
    zero = {cv2.CAP_PROP_POS_MSEC: lambda: 0.0}

    def slow():
        for number, picture in enumerate(pictures()):
            time.sleep(next(asleep))
            if number == 72:
                picture[:] = 77
            yield picture

    source = camera(Script(slow, interval_s=0.0, properties=zero))
    before = take(source, 20)
    while before[-1].index < 29:
        before = take(source, 1)
    dropped = source.dropped
    first = take(source, 1)[0]
    assert 60 < first.index <= 72
    assert source.dropped - dropped > 30


def test_a_slow_reader_gets_the_newest_and_the_rest_is_counted(camera):
    source = camera(Script(pictures))
    take(source, 1)
    time.sleep(0.2)
    (frame,) = take(source, 1)
    assert source.dropped > 5
    assert time.monotonic_ns() - frame.stamp_ns < 0.1e9
    assert source.frames_in >= source.dropped + 2


def test_a_reader_that_finds_nothing_gets_none_within_its_timeout(camera):
    source = camera(Script(lambda: then((1, pictures()), FAIL, HANG)))
    take(source, 1)
    started = time.monotonic()
    assert source.read(0.05) is None
    assert 0.04 < time.monotonic() - started < 0.5


def test_unplugged_and_plugged_in_again(camera, device):
    source = camera(Script(lambda: then((5, pictures())), pictures))
    before = take(source, 1)
    wait_for(lambda: source.frames_in == 5)
    device.unlink()
    lost = until_lost(source, "")
    assert lost.since_ns <= time.time_ns()
    time.sleep(0.15)
    assert "no such camera" in source.status.reason
    assert source.status.since_ns == lost.since_ns
    source.read(0)
    device.touch()
    after = take(source, 3)
    assert after[0].reset == "camera reconnected"
    assert [f.reset for f in after[1:]] == [None, None]
    assert after[0].index > before[0].index
    assert after[0].stamp_ns > before[0].stamp_ns
    assert source.status.state == "RUNNING"
    assert source.status.reason == ""


def test_a_driver_that_hangs_is_left_behind(camera):
    script = Script(lambda: then((3, pictures()), HANG), lambda: pictures(100))
    source = camera(script)
    take(source, 1)
    until_lost(source, "hangs", timeout_s=4.0)
    after = take(source, 2)
    assert after[0].reset == "camera reconnected"
    script.release_hangs.set()
    wait_for(lambda: script.opened[0].released)


def test_status_alone_finds_out_that_the_driver_hangs(camera):
    source = camera(Script(lambda: then((3, pictures()), HANG)))
    wait_for(lambda: source.status.state == "SOURCE_LOST", 4.0)


def test_a_camera_that_hangs_every_time_does_not_pile_up_threads(camera):
    source = camera(Script(lambda: then((1, pictures()), HANG)))
    source.max_hung_threads = 1
    deadline = time.monotonic() + 3.5  # three allowances of a hung call
    while time.monotonic() < deadline:
        source.read(0.05)
    assert sum(t.name == "henasy-camera" for t in threading.enumerate()) <= 2


def test_closing_is_quick_even_if_the_driver_hangs(camera):
    script = Script(lambda: then((1, pictures()), HANG))
    source = camera(script)
    take(source, 1)
    started = time.monotonic()
    source.close()
    assert time.monotonic() - started < 1.0
    with pytest.raises(EndOfSource):
        source.read()


def test_a_frozen_picture_is_noticed_and_not_delivered_again(camera):
    still = next(pictures(7))
    freezes = lambda: then((3, pictures()), repeat(still))  # noqa: E731
    script = Script(freezes, lambda: repeat(still), pictures)
    source = camera(script)
    until_lost(source, "frozen")
    while source.read(0) is not None:
        pass
    wait_for(lambda: len(script.opened) >= 2)
    assert source.read(0.1) is None
    assert source.status.state == "SOURCE_LOST"
    (frame,) = take(source, 1)
    assert frame.reset == "camera reconnected"
    assert (frame.image != still[:, :, ::-1]).any()


def test_a_single_repeated_picture_is_no_freeze(camera):
    def doubled():
        for picture in pictures():
            yield picture
            yield picture.copy()

    source = camera(Script(doubled))
    deadline = time.monotonic() + 0.8
    while time.monotonic() < deadline:
        source.read(0.05)
        assert source.status.state == "RUNNING"


@pytest.mark.parametrize(
    "bad",
    [FAIL, CRASH, np.zeros((0, 0, 3), np.uint8), np.zeros((24, 32, 2), np.uint8), np.zeros((24, 32, 3), np.uint16)],
    ids=["grab", "decoder", "empty", "channels", "depth"],
)
def test_short_reads_are_skipped(camera, bad):
    source = camera(Script(lambda: then((2, pictures()), bad, bad, pictures(50))))
    frames = take(source, 8)
    assert {f.reset for f in frames} == {None}
    assert {f.image.shape for f in frames} == {(24, 32, 3)}


def test_reads_that_fail_for_long_are_a_loss(camera):
    source = camera(Script(lambda: then((2, pictures()), (400, repeat(FAIL)), pictures())))
    until_lost(source, "no picture")


def test_a_camera_that_opens_but_never_delivers_is_lost(camera):
    until_lost(camera(Script(lambda: repeat(FAIL))), "no picture")


def test_another_size_in_the_middle_is_a_reset(camera):
    source = camera(Script(lambda: then((3, pictures()), pictures(10, shape=(48, 64, 3)))))
    frames = [f for f in take(source, 12) if f.reset]
    assert [f.reset for f in frames] == ["resolution changed to 64x48"]


def test_grey_cameras_deliver_rgb(camera):
    (frame,) = take(camera(Script(lambda: pictures(shape=(24, 32)))), 1)
    assert frame.image.shape == (24, 32, 3)


def test_a_reset_is_not_lost_with_the_frame_that_carried_it(camera):
    source = camera(Script(lambda: then((2, pictures()), (60, repeat(FAIL))), pictures))
    until_lost(source, "no picture")
    wait_for(lambda: source.status.state == "RUNNING")
    time.sleep(0.2)
    while source.dropped < 5:
        time.sleep(0.01)
    (frame,) = take(source, 1)
    assert frame.reset == "camera reconnected"


def test_pauses_between_attempts_grow(camera, device):
    script = Script(lambda: then((1, pictures())), opens=[True] + 40 * [False])
    source = camera(script)
    take(source, 1)
    time.sleep(1.0)
    source.status  # noqa: B018 - asking must not start further attempts
    assert 4 <= len(script.opened) <= 10
    assert source.status.state == "SOURCE_LOST"
    assert all(p.released for p in script.opened[:-1])


def asked(script):
    return dict(script.opened[0].calls)


def test_mjpg_is_asked_for_when_size_and_rate_need_it(camera):
    script = Script(pictures)
    source = camera(script, CameraOptions(size=(1280, 720), fps=30))
    assert asked(script)[cv2.CAP_PROP_FOURCC] == MJPG
    assert script.opened[0].calls[0][0] == cv2.CAP_PROP_FOURCC
    assert "1280x720 MJPG at 30 fps" in source.notices[0]
    assert "instead" not in source.notices[0]


@pytest.mark.parametrize("options", [CameraOptions(), CameraOptions(size=(640, 480), fps=30), CameraOptions(fps=10)])
def test_raw_stays_where_it_fits(camera, options):
    script = Script(pictures)
    camera(script, options)
    assert cv2.CAP_PROP_FOURCC not in asked(script)


def test_the_users_format_wins(camera):
    script = Script(pictures)
    camera(script, CameraOptions(size=(1920, 1080), fps=30, fourcc="YUYV"))
    assert asked(script)[cv2.CAP_PROP_FOURCC] == YUYV


def test_what_was_obtained_instead_is_said(camera):
    fixed = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FPS)
    script = Script(pictures, fixed=fixed, properties={cv2.CAP_PROP_FPS: 10.0})
    source = camera(script, CameraOptions(size=(1280, 720), fps=30))
    assert "32x720 YUYV at 10 fps instead of 1280x720 MJPG" in source.notices[0]
    assert "only 10 fps instead of 30" in source.notices[1]


def test_a_rate_that_stays_too_low_is_a_notice():
    slow, fine = RateCheck(30.0, window_s=4.0), RateCheck(30.0, window_s=4.0)
    assert [r for i in range(100) if (r := slow.add(i / 10))] == [10.0]
    assert [r for i in range(300) if (r := fine.add(i / 29))] == []
    assert [r for i in range(300) if (r := RateCheck(None).add(i))] == []


def test_a_camera_that_is_slower_than_it_says_is_a_notice(camera, monkeypatch):
    monkeypatch.setattr(RateCheck.__init__, "__defaults__", (0.3,))
    source = camera(Script(pictures, interval_s=0.02, properties={cv2.CAP_PROP_FPS: 200.0}))
    wait_for(lambda: any("are due" in n for n in source.notices))


def test_a_camera_that_does_not_open(camera):
    with pytest.raises(UserError, match="another program"):
        camera(Script(pictures, opens=[False]))


def test_a_camera_that_hangs_while_it_opens(device):
    release = threading.Event()

    def hang(path):
        release.wait()
        return Played(Script(pictures), iter(()), False)

    started = time.monotonic()
    with pytest.raises(UserError, match="did not open within"):
        CameraSource(str(device), CameraOptions(), open_capture=hang, limits=FAST)
    assert time.monotonic() - started < 2.5
    release.set()


def test_no_such_camera_lists_those_that_exist(monkeypatch):
    monkeypatch.setattr(_v4l2, "list_cameras", lambda: ["/dev/video2 (HD Webcam)"])
    with pytest.raises(UserError, match=r"no such camera; there are /dev/video2 \(HD Webcam\)"):
        open_source("97")


def test_a_stable_name_is_suggested_and_followed_when_numbers_move(camera, device, tmp_path, monkeypatch):
    links = tmp_path / "by-id"
    links.mkdir()
    link = links / "usb-Cam-video-index0"
    link.symlink_to(device)
    stable = _v4l2.stable_name
    monkeypatch.setattr(_v4l2, "stable_name", lambda path: stable(path, links))
    script = Script(lambda: then((2, pictures())), pictures)
    source = camera(script)
    assert any(str(link) in n for n in source.notices)
    moved = tmp_path / "video4"
    device.rename(moved)
    link.unlink()
    link.symlink_to(moved)
    until_lost(source, "unplugged")
    take(source, 1)
    assert script.paths == [str(device), str(link)]


def test_list_cameras_leaves_metadata_devices_out(tmp_path):
    sys, dev = tmp_path / "sys", tmp_path / "dev"
    dev.mkdir()
    for number, index, name in [(0, "0", "HD Webcam"), (1, "1", "HD Webcam"), (10, "0", "Capture"), (2, "0", "Gone")]:
        (sys / f"video{number}").mkdir(parents=True)
        (sys / f"video{number}" / "index").write_text(index + "\n")
        (sys / f"video{number}" / "name").write_text(name + "\n")
        if name != "Gone":
            (dev / f"video{number}").touch()
    assert _v4l2.list_cameras(sys, dev) == [f"{dev}/video0 (HD Webcam)", f"{dev}/video10 (Capture)"]


def driver(table):
    """An ioctl that answers VIDIOC_ENUM_* from {fourcc: {(w, h): [fps]}} as linux/videodev2.h lays it out."""
    codes = {f: int.from_bytes(f.encode(), "little") for f in table}

    def ioctl(fd, request, data):
        index = struct.unpack_from("I", data)[0]
        try:
            if request & 0xFF == 2:
                assert len(data) == 64
                struct.pack_into("I", data, 44, list(codes.values())[index])
                return
            fourcc = next(f for f, code in codes.items() if code == struct.unpack_from("I", data, 4)[0])
            if request & 0xFF == 74:
                assert len(data) == 44
                struct.pack_into("3I", data, 8, 1, *list(table[fourcc])[index])
            else:
                assert request & 0xFF == 75
                assert len(data) == 52
                rates = table[fourcc][struct.unpack_from("2I", data, 8)]
                struct.pack_into("3I", data, 16, 1, 1, rates[index])
        except IndexError:
            raise OSError(errno.EINVAL, "end of list") from None

    return ioctl


WEBCAM = {"YUYV": {(640, 480): [30, 15], (1280, 720): [10]}, "MJPG": {(640, 480): [30], (1280, 720): [30]}}


def test_formats_are_read_from_the_driver():
    formats = _v4l2.formats("", driver(WEBCAM))
    assert [str(f) for f in formats] == [
        "YUYV 640x480 at 30 fps",
        "YUYV 640x480 at 15 fps",
        "YUYV 1280x720 at 10 fps",
        "MJPG 640x480 at 30 fps",
        "MJPG 1280x720 at 30 fps",
    ]


def test_the_cameras_own_list_decides_about_mjpg():
    webcam = _v4l2.formats("", driver(WEBCAM))
    usb3 = _v4l2.formats("", driver({"YUYV": {(1280, 720): [60]}, "MJPG": {(1280, 720): [60]}}))
    assert _v4l2.wants_mjpg((1280, 720), 30, webcam)
    assert not _v4l2.wants_mjpg((1280, 720), 10, webcam)
    assert not _v4l2.wants_mjpg((640, 480), 30, webcam)
    assert not _v4l2.wants_mjpg((1280, 720), 30, usb3)
    assert _v4l2.wants_mjpg((1920, 1080), 30, [])


def test_formats_that_reach_a_rate_name_the_asked_size_first():
    best = _v4l2.reaching(_v4l2.formats("", driver(WEBCAM)), (640, 480), 30)
    assert [str(f) for f in best[:2]] == ["MJPG 640x480 at 30 fps", "YUYV 640x480 at 30 fps"]


@given(st.lists(st.tuples(st.integers(0, 40_000_000), st.floats(-1e3, 2e3)), max_size=50))
def test_live_stamps_always_rise_and_never_lie_in_the_future(steps):
    rule, now, last = StampRule(), 10**12, -1
    for gap, age_ms in steps:
        now += gap + 1
        stamp = rule.stamp(now, now / 1e6 - age_ms)
        assert stamp > last
        assert stamp <= max(now, last + 1)
        last = stamp


def multipart(number):
    """A local server that streams `number` JPEG pictures the way network cameras do, then hangs up."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                for i in range(number):
                    jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), (i * 9) % 255, np.uint8))[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                    time.sleep(0.01)
            except OSError:
                pass

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, name="server", daemon=True).start()
    return server


def test_a_stream_from_a_server_that_hangs_up_and_comes_back():
    server = multipart(40)
    url = f"http://user:secret@127.0.0.1:{server.server_port}/live"
    limits = Limits(open_s=10.0, first_s=3.0, read_s=0.5, freeze_s=5.0, backoff_s=(0.05,))
    with StreamSource(url, limits=limits) as source:
        assert source.uri == f"http://***@127.0.0.1:{server.server_port}/live"
        frames = take(source, 5, 10.0)
        assert frames[0].image.shape == (48, 64, 3)
        assert {(f.clock, f.stamp_source) for f in frames} == {("monotonic", "receive")}
        assert "secret" not in repr([f.source for f in frames]) + repr(source.notices)
        deadline = time.monotonic() + 15.0
        resets: list[str] = []
        while not resets:
            assert time.monotonic() < deadline
            frame = source.read(0.1)
            resets += [frame.reset] if frame is not None and frame.reset else []
        assert resets == ["stream reconnected"]
    server.shutdown()
    server.server_close()


def test_a_stream_that_nobody_serves_is_told_without_the_password():
    with pytest.raises(UserError, match="no stream there") as caught:
        open_source("http://user:secret@127.0.0.1:9/live")
    assert "secret" not in str(caught.value)
