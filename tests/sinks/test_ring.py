"""The last half minute: bounded in time and bytes, and what is saved of it can be read by others."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from henasy_stream.errors import UserError
from henasy_stream.sinks.builder import MessageBuilder
from henasy_stream.sinks.ring import Ring
from tests.sinks import synthetic

mcap_reader = pytest.importorskip("mcap.reader", reason="the extra bag is not installed")


def fill(ring: Ring, count: int, start: int = 0) -> None:
    builder = MessageBuilder(synthetic.SPEC)
    for i in range(start, start + count):
        perception = synthetic.perception(i)
        ring.send(builder.perception(perception))
        ring.write(perception)
        ring.send(builder.heartbeat(synthetic.RUNNING))


def counts(data: bytes) -> dict[str, int]:
    summary = mcap_reader.make_reader(io.BytesIO(data), validate_crcs=True).get_summary()
    found = summary.statistics.channel_message_counts
    return {channel.topic: found[number] for number, channel in summary.channels.items()}


def test_what_is_held_comes_out_as_mcap() -> None:
    ring = Ring()
    fill(ring, 5)
    found = counts(b"".join(ring.mcap()))
    assert found["henasy/1/tracks"] == found["/henasy/image/compressed"] == found["/henasy/annotations"] == 5
    assert found["henasy/1/status"] == 1
    assert counts(b"".join(ring.mcap())) == found  # saving takes nothing out


def test_a_frame_that_is_a_jpeg_already_is_not_made_one_again() -> None:
    ring = Ring()
    ring.write(synthetic.perception(0), b"\xff\xd8 made by somebody else")
    reader = mcap_reader.make_reader(io.BytesIO(b"".join(ring.mcap())))
    (message,) = (m for _, channel, m in reader.iter_messages() if channel.topic == "/henasy/image/compressed")
    assert message.data.endswith(b"\xff\xd8 made by somebody else")


def test_seconds_are_bounded() -> None:
    ring = Ring(seconds=0.3)
    fill(ring, 3)
    time.sleep(0.35)
    fill(ring, 1, start=3)
    assert counts(b"".join(ring.mcap()))["henasy/1/tracks"] == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 400_000), st.integers(1, 12))
def test_bytes_are_bounded(max_bytes: int, count: int) -> None:
    ring = Ring(max_bytes=max_bytes)
    for i in range(count):
        ring.write(synthetic.perception(i), bytes(30_000))
        assert ring.held_bytes <= max_bytes
    kept = counts(b"".join(ring.mcap())).get("/henasy/image/compressed", 0)
    assert kept == min(count, max_bytes // 35_248)  # JPEG, its message and its masks


def test_masks_that_are_held_once_are_counted_once() -> None:
    ring = Ring()
    first = synthetic.perception(0)
    ring.write(first, b"x")
    once = ring.held_bytes
    ring.write(synthetic.perception(1, masks=first.masks, fresh=False), b"x")
    assert first.masks is not None
    assert 2 * once - ring.held_bytes == first.masks.probability.nbytes


def test_pictures_are_not_kept_as_pixels() -> None:
    ring = Ring()
    perception = synthetic.perception(0)
    ring.write(perception)
    (moment,) = ring._moments
    assert moment.perception is not None
    assert moment.perception.frame.image.strides[:2] == (0, 0)
    assert moment.perception.frame.image.shape == perception.frame.image.shape


def test_mp4_is_annotated_and_keeps_its_time(tmp_path: Path) -> None:
    ring = Ring()
    fill(ring, 6)
    assert ring.mp4(tmp_path / "out.mp4") == 6
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    pictures = []
    while (read := capture.read())[0]:
        pictures.append(read[1])
    seconds = len(pictures) / capture.get(cv2.CAP_PROP_FPS)
    assert seconds == pytest.approx(6 * synthetic.PERIOD_NS / 1e9, rel=0.1)
    assert pictures[0].shape[:2] == (synthetic.HEIGHT, synthetic.WIDTH)
    plain = np.ptp(pictures[0].astype(int), axis=2).max()
    assert plain > 60  # the frames are grey, boxes and masks are not


def test_an_empty_ring_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no frame to save yet"):
        Ring().mp4(tmp_path / "out.mp4")
    assert counts(b"".join(Ring().mcap())) == {}


def test_mp4_where_it_cannot_be_written(tmp_path: Path) -> None:
    ring = Ring()
    fill(ring, 1)
    with pytest.raises(UserError, match="does not exist"):
        ring.mp4(tmp_path / "no" / "out.mp4")


def test_saving_while_it_is_filled() -> None:
    ring = Ring(max_bytes=300_000)
    filler = threading.Thread(target=fill, args=(ring, 60))
    filler.start()
    while filler.is_alive():
        counts(b"".join(ring.mcap()))
    filler.join()


def test_close_lets_go() -> None:
    ring = Ring()
    fill(ring, 2)
    ring.close()
    assert ring.held_bytes == 0
    assert counts(b"".join(ring.mcap())) == {}


def test_mp4_tells_how_far_it_is(tmp_path: Path) -> None:
    ring, told = Ring(), []
    fill(ring, 4)
    ring.mp4(tmp_path / "out.mp4", lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
