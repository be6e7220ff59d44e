from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.training.extraction.conftest import SPANS
from tests.training.videos import numbers_of
from training.data import decoding
from training.data.chunks import VideoStore
from training.data.clip_reader import read_clip
from training.data.ego4d import ClipSpan
from training.data.records import ClipError
from training.extraction.windows import Windows, read_windows


def span(video, start, end):
    return ClipSpan(clip="c", video=video, start=start, end=end)


@pytest.fixture(scope="module")
def store(videos):
    return VideoStore.open(videos, ["a", "b"], report=lambda _: None)


@pytest.mark.parametrize(
    ("seconds", "count"),
    [(480.0, 898), (100.0, 187), (100.0001, 188), (99.9999, 187), (0.01, 1), (1 / 1.87, 1), (10 / 1.87, 10)],
)
def test_every_started_window_counts(seconds, count):
    assert Windows().count(span("a", 7.0, 7.0 + seconds)) == count


def test_windows_lie_side_by_side_and_the_end_cuts_the_last():
    windows = Windows(rate=2.0, seconds=0.5).of(span("a", 10.0, 11.2))
    assert [(w.start, w.end) for w in windows] == [(10.0, 10.5), (10.5, 11.0), (11.0, 11.2)]
    windows = Windows(rate=2.0, seconds=1.0).of(span("a", 10.0, 11.2))
    assert [(w.start, w.end) for w in windows] == [(10.0, 11.0), (10.5, 11.2), (11.0, 11.2)]


@pytest.mark.parametrize("plan", [Windows(), Windows(seconds=2.0), Windows(rate=0.4, seconds=1.0), Windows(frames=7)])
@pytest.mark.parametrize("name", SPANS)
def test_the_sweep_gives_what_each_window_alone_gives(name, plan, store):
    windows = plan.of(span(*SPANS[name]))
    swept = list(read_windows(store, windows, plan.frames, size=48, resize="squash"))
    assert len(swept) == plan.count(span(*SPANS[name]))
    alone = [numbers_of(read_clip(store, window, plan.frames)) for window in windows]
    assert [numbers_of(frames) for frames in swept] == alone
    assert swept[0].shape == (plan.frames, 48, 48, 3)


def test_where_windows_overlap_a_frame_is_decoded_once(store, monkeypatch):
    decoded: Counter[bytes] = Counter()
    upright = decoding._upright

    def counted(frame):
        picture = upright(frame)
        decoded[picture.tobytes()] += 1
        return picture

    monkeypatch.setattr(decoding, "_upright", counted)
    plan = Windows(rate=2.0, seconds=2.0, frames=8)
    frames = list(read_windows(store, plan.of(span("a", 5.0, 35.0)), 8, size=48, resize="squash"))
    assert sum(map(len, frames)) == 60 * 8
    assert max(decoded.values()) == 1
    assert decoded.total() == len({number for window in frames for number in numbers_of(window)})


def test_a_clip_beyond_the_video_is_named(store):
    windows = Windows().of(span("a", 30.0, 45.0))
    with pytest.raises(ClipError, match=r"a\.mp4/30\.mp4: ends at 7\.00 s"):
        list(read_windows(store, windows, 4, size=48, resize="squash"))


def test_damage_on_the_way_is_named(store):
    windows = Windows().of(span("bad", 10.0, 20.0))
    with pytest.raises(ClipError, match=r"bad\.mp4/15\.mp4"):
        list(read_windows(store, windows, 4, size=48, resize="squash"))
    assert np.stack(list(read_windows(store, Windows().of(span("bad", 1, 9)), 4, size=48, resize="crop"))).any()
