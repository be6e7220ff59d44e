"""The pieces behind the page: mailbox, history, messages, gauge."""

from __future__ import annotations

import contextlib
import re
import threading
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from henasy_stream._palette import colour_of
from henasy_stream.preprocess import Rotation, View
from henasy_stream.runtime.latency import Latency
from henasy_stream.runtime.monitor import Monitor
from henasy_stream.types import Frame, Masks, Perception
from henasy_stream.web import messages
from henasy_stream.web.convert import hex_colour, result_message
from henasy_stream.web.encoder import Size, jpeg
from henasy_stream.web.files import assets
from henasy_stream.web.gauge import Gauge
from henasy_stream.web.history import KEPT_NS, History
from henasy_stream.web.mailbox import KEPT_RESULTS, Mailbox
from henasy_stream.web.messages import Action, Result
from tests.runtime.parts import ScriptedSource
from tests.sinks import synthetic
from tests.web.parts import SPEC


def test_the_mailbox_keeps_the_newest_frame_and_counts_all() -> None:
    rung: list[int] = []
    box = Mailbox(lambda: rung.append(1))
    for i in range(5):
        box.put_frame(synthetic.frame(i))
    assert len(rung) == 1  # one call until somebody looks
    mail = box.take()
    assert (mail.frames, mail.frame and mail.frame.index) == (5, 4)
    assert box.take().frame is None
    box.put_frame(synthetic.frame(5))
    assert len(rung) == 2


def test_the_mailbox_keeps_news_in_order_without_their_pictures_and_counts_what_it_loses() -> None:
    box = Mailbox(lambda: None)
    for i in range(KEPT_RESULTS + 3):
        box.put_perception(synthetic.perception(i), is_news=True)
    box.put_perception(synthetic.perception(99), is_news=False)
    mail = box.take()
    assert [p.frame.index for p in mail.results] == list(range(3, KEPT_RESULTS + 3))
    assert box.missed_results == 3
    assert mail.perception is not None
    assert mail.perception.frame.index == 99
    first = mail.results[0].frame
    assert (first.width, first.height) == (synthetic.WIDTH, synthetic.HEIGHT)
    assert not first.image.any()
    assert first.image.base is not None  # a view of one pixel
    assert first.image.strides == (0, 0, 1)


def test_the_mailbox_loses_nothing_between_threads() -> None:
    wake = threading.Event()
    box = Mailbox(wake.set)
    taken: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set() or wake.is_set():
            if wake.wait(0.05):
                wake.clear()
                taken.extend(p.frame.index for p in box.take().results)

    reader = threading.Thread(target=read)
    reader.start()
    perception = synthetic.perception(0)
    for _ in range(2000):
        box.put_perception(perception, is_news=True)
    done.set()
    reader.join()
    taken.extend(p.frame.index for p in box.take().results)
    assert len(taken) + box.missed_results == 2000


def result(stamp_ns: int, *ids: int, state: str = "tracked", **changes: Any) -> Result:
    made, _ = result_message(synthetic.perception(0), View.plan(synthetic.HEIGHT, synthetic.WIDTH, 96))
    template = made.tracks[0]
    tracks = tuple(msgspec.structs.replace(template, id=i, state=state, label=f"thing {i}") for i in ids)
    values = {"stamp_ns": stamp_ns, "tracks": tracks, "colours": {i: hex_colour(i) for i in ids}, "closed": ()}
    return msgspec.structs.replace(made, **{**values, "caption": None, **changes})


def spans(history: History) -> dict[int, list[tuple[int, int]]]:
    return {seen.id: [(s.start_ns, s.end_ns) for s in seen.spans] for seen in history.seen}


def test_history_tells_who_was_seen_when() -> None:
    s = 1_000_000_000
    history = History()
    for at in (0, s, 2 * s):
        history.add(result(at, 1, 2))
    history.add(result(3 * s, 1, 2, state="lost"))
    for at in (9 * s, 10 * s):
        history.add(result(at, 1))
    assert spans(history) == {1: [(0, 2 * s), (9 * s, 10 * s)], 2: [(0, 2 * s)]}
    assert history.seen[0].colour == hex_colour(1)


def test_history_forgets_what_is_ten_minutes_old_and_all_when_time_jumps_back() -> None:
    s = 1_000_000_000
    history = History()
    closed = (Action(segment_id=1, text="a", score=1, start_ns=0, end_ns=s, final=True),)
    history.add(result(s, 1, closed=closed))
    history.add(result(s + KEPT_NS, 2))
    assert set(spans(history)) == {1, 2}
    assert history.actions == closed
    history.add(result(3 * s + KEPT_NS, 2))
    assert set(spans(history)) == {2}
    assert not history.actions
    history.add(result(0, 3))
    assert spans(history) == {3: [(0, 0)]}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 10**13), st.sets(st.integers(0, 10**6), max_size=30)), max_size=60))
def test_history_stays_small(steps: list[tuple[int, set[int]]]) -> None:
    history = History()
    for stamp, ids in steps:
        history.add(result(stamp, *ids))
        assert all(a <= b for track in spans(history).values() for a, b in track)
        assert len(history.seen) <= 400 + 30


def test_a_message_is_a_head_and_a_payload() -> None:
    head, payload = messages.unpack(messages.pack(messages.Reply(ask=3, ok=True), b"\x00\xffdata"))
    assert (head["t"], head["ask"], payload) == ("reply", 3, b"\x00\xffdata")


@given(
    st.binary(max_size=200)
    | st.text(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(repr)
)
def test_whatever_a_browser_says_is_understood_or_refused(said: str | bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(messages.decode(said), messages.Said)


@pytest.mark.parametrize(
    "said",
    [
        '{"t":"wish","max_fps":1000}',
        '{"t":"wish","size":"huge"}',
        '{"t":"ack","frames":-1}',
        '{"t":"ask","ask":1,"add":["' + "x" * 900 + '"]}',
        '{"t":"ask","ask":1,"add":' + str(["x"] * 40).replace("'", '"') + "}",
        '{"t":"save","format":"exe"}',
        '{"t":"hello","token":"' + "x" * 300 + '"}',
        '{"t":"hello","more":1}',
    ],
)
def test_what_is_out_of_bounds_is_refused(said: str) -> None:
    with pytest.raises(ValueError):
        messages.decode(said)


def test_a_track_has_the_colour_that_the_annotated_video_gives_it() -> None:
    for number in (0, 1, 7, 100):
        assert tuple(bytes.fromhex(hex_colour(number)[1:])) == colour_of(number)


def test_masks_travel_as_bytes_of_their_probability() -> None:
    perception = synthetic.perception(3)
    made, payload = result_message(perception, View.plan(synthetic.HEIGHT, synthetic.WIDTH, 96))
    assert perception.masks is not None
    assert made.masks is not None
    levels = np.frombuffer(payload, np.uint8).reshape(made.masks.count, made.masks.height, made.masks.width)
    assert np.abs(levels / 255 - perception.masks.probability).max() <= 0.5 / 255 + 1e-6
    assert np.allclose(made.masks.affine, perception.masks.to_source)
    assert made.visible == ((80, 0), (560, 0), (560, 480), (80, 480))  # the central square of 640 x 480


def test_pictures_are_shrunk_to_what_a_viewer_wants_and_never_enlarged() -> None:
    large = np.zeros((1080, 1920, 3), np.uint8)
    large[..., 0] = 250  # red
    wanted: list[tuple[Size, tuple[int, int]]] = [
        ("small", (360, 640)),
        ("full", (720, 1280)),
        ("source", (1080, 1920)),
    ]
    for size, expected in wanted:
        picture = cv2.imdecode(np.frombuffer(jpeg(large, size), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape[:2] == expected
        assert abs(int(picture[10, 10, 2]) - 250) < 6
    little = cv2.imdecode(np.frombuffer(jpeg(large[:90, :160], "full"), np.uint8), cv2.IMREAD_COLOR)
    assert little is not None
    assert little.shape[:2] == (90, 160)


def test_latency_since_a_mark_is_what_came_after_it() -> None:
    latency = Latency(keep=8)
    for i in range(5):
        latency.add("network", i)
    marks = latency.counts
    assert latency.since(marks) == {}
    for i in range(5, 9):
        latency.add("network", i)
    assert latency.since(marks)["network"].tolist() == [5, 6, 7, 8]
    for i in range(9, 40):
        latency.add("network", i)
    assert sorted(latency.since(marks)["network"].tolist()) == list(range(32, 40))


def test_the_gauge_tells_rates_and_the_oldest_result() -> None:
    monitor = Monitor(ScriptedSource([]))
    gauge = Gauge(monitor)
    monitor.steps += 10
    for age in (0.1, 0.3, 0.2):
        monitor.latency.add("age", age)
        monitor.latency.add("network", 0.02)
    sample = gauge.sample()
    assert sample.age_ms == 300
    assert sample.stage_ms == {"network": 20}
    assert sample.used_fps > 0
    assert gauge.sample().age_ms is None


def test_the_spec_of_these_tests_shows_the_whole_frame() -> None:
    made, _ = result_message(synthetic.perception(0), View.plan(480, 640, SPEC.image_size, SPEC.resize))
    assert made.visible is None


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_a_camera_mounted_sideways_is_shown_upright_with_its_marks(rotate: Rotation) -> None:
    height, width, cell = 96, 160, 8
    inside = np.zeros((height, width), bool)
    inside[16:40, 64:136] = True
    image = np.repeat(inside[..., None] * np.uint8(255), 3, 2)
    frame = Frame(image=image, stamp_ns=0, index=0, source="test")
    track = synthetic.track(1, box_xyxy=(64.0, 16.0, 136.0, 40.0), mask_index=1)
    coarse = inside.reshape(height // cell, cell, width // cell, cell).mean((1, 3)).astype(np.float32)
    masks = Masks(probability=coarse[None], to_source=np.array([[cell, 0, 0], [0, cell, 0]], np.float64))
    perception = Perception(frame=frame, stamp_ns=0, window_start_ns=0, window_end_ns=0, tracks=(track,), masks=masks)
    turned = np.rot90(inside, -rotate // 90)
    made, payload = result_message(perception, View.plan(height, width, 96, "crop", rotate))
    assert (made.height, made.width) == turned.shape
    ys, xs = np.nonzero(turned)
    assert made.tracks[0].box_xyxy == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    # Each cell of the mask falls where the turned picture has it.
    assert made.masks is not None
    levels = np.frombuffer(payload, np.uint8).reshape(made.masks.height, made.masks.width)
    affine = np.array(made.masks.affine)
    for v, u in np.ndindex(levels.shape):
        x, y = affine[:, :2] @ [u + 0.5, v + 0.5] + affine[:, 2]
        assert (levels[v, u] > 127) == turned[int(y), int(x)]
    # What the model sees is the middle of the turned picture as well.
    seen = np.array(made.visible)
    assert np.ptp(seen, 0).tolist() == [96, 96]
    assert seen.mean(0).tolist() == [turned.shape[1] / 2, turned.shape[0] / 2]
    picture = cv2.imdecode(np.frombuffer(jpeg(image, "full", rotate), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    assert np.abs(picture / 255 - turned).mean() < 0.02


def luminance(colour: str) -> float:
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("theme", [":root {", ':root[data-theme="light"] {'])
def test_text_can_be_read_in_both_themes(theme: str) -> None:
    """The contrast that WCAG 2 asks for (AA, 4.5), on each ground that text stands on."""
    css = assets()["/page.css"].body.decode()
    block = css[css.index(theme) :].partition("}")[0]
    inks = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))

    def contrast(one: str, other: str) -> float:
        dark, bright = sorted((luminance(inks[one]), luminance(inks[other])))
        return (bright + 0.05) / (dark + 0.05)

    for ground in ("bg", "panel", "raised"):
        for ink in ("ink", "ink2", "ink3", "bad", "warn"):
            assert contrast(ink, ground) >= 4.5, (ink, ground)
    assert contrast("on-accent", "accent") >= 4.5
