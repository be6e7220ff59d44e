from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from henasy_stream.config import StreamConfig
from henasy_stream.errors import UserError
from henasy_stream.preprocess import View
from henasy_stream.stream import engine as engine_module
from henasy_stream.stream.engine import Engine
from tests.stream.fake import SECOND, FakeBackend, Square, film, paint

SCENE = (
    Square("cup", 10, 10, vx=25),
    Square("cup", 10, 180, vx=18),
    Square("knife", 180, 60, vx=-20, vy=10),
    Square("book", 100, 110, vy=8),
)


def run(engine, frames, state=None):
    state = engine.initial_state() if state is None else state
    results = []
    for frame in frames:
        state, perception = engine.step(state, frame)
        results.append(perception)
    return state, results


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def ids_of(squares, results):
    """For every square the ids of the tracks that covered it."""
    found: dict[int, list[int]] = defaultdict(list)
    for perception in (p for p in results if p.fresh):
        for number, square in enumerate(squares):
            box = square.box(perception.stamp_ns / SECOND)
            if box is not None:
                hits = [t.id for t in perception.tracks if t.mask_index and iou(t.box_xyxy, box) > 0.5]
                assert len(hits) <= 1
                found[number] += hits
    return found


@pytest.mark.parametrize("dropped", [0.0, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("shuffle", [1, 2])
def test_ids_stay_although_slots_change_places_and_frames_are_missing(dropped, shuffle):
    keep = np.random.default_rng(shuffle).random(80) >= dropped
    frames = [frame for frame, kept in zip(film(SCENE, 8, fps=10), keep, strict=True) if kept]
    _, results = run(Engine(FakeBackend(shuffle=shuffle), StreamConfig()), frames)
    windows = sum(p.fresh for p in results)
    found = ids_of(SCENE, results)
    for number in range(len(SCENE)):
        assert len(set(found[number])) == 1, (number, found[number])
        assert len(found[number]) >= 0.9 * windows
    assert len({found[number][0] for number in range(len(SCENE))}) == len(SCENE)
    assert {t.id for p in results for t in p.tracks} == {1, 2, 3, 4}
    assert {t.label for p in results for t in p.tracks} == {"cup", "knife", "book"}


def test_the_slot_order_changes_nothing():
    """Two streams that differ in the order of slots only give the same tracks, but for numbering within a hop."""

    def story(shuffle):
        _, results = run(Engine(FakeBackend(shuffle=shuffle), StreamConfig()), film(SCENE, 3))
        return [sorted((t.label, t.state, t.box_xyxy) for t in p.tracks) for p in results]

    assert story(None) == story(5)


def test_a_hidden_thing_is_lost_and_comes_back_with_its_id():
    squares = (Square("cup", 40, 40, vx=20, hidden=(2.0, 3.2)), Square("knife", 40, 160, vx=20))
    _, results = run(Engine(FakeBackend(shuffle=3), StreamConfig()), film(squares, 6))
    assert {len(set(ids)) for ids in ids_of(squares, results).values()} == {1}
    states = [t.state for p in results for t in p.tracks if t.label == "cup"]
    assert "lost" in states
    assert states[-1] == "tracked"


def test_a_thing_that_is_gone_is_removed_once():
    squares = (Square("cup", 40, 40, hidden=(2.0, 99.0)),)
    _, results = run(Engine(FakeBackend(), StreamConfig(lost_s=1.0)), film(squares, 5))
    removed = [p for p in results if any(t.state == "removed" for t in p.tracks)]
    assert len(removed) == 1
    assert removed[0].fresh
    assert removed[0].stamp_ns == pytest.approx(3.0 * SECOND, abs=0.45 * SECOND)
    assert results[-1].tracks == ()


class Dreamer(FakeBackend):
    """Sees the same things whatever the picture, as a network may that never met a covered lens."""

    def run_window(self, clip):
        return super().run_window(np.broadcast_to(self.dream, clip.shape))

    def __init__(self):
        super().__init__()
        self.dream = View.plan(240, 240, self.spec.image_size).apply(paint(SCENE, 0.0).image)


def test_black_frames_give_no_tracks():
    black = [replace(f, image=np.zeros_like(f.image)) for f in film((), 4)]
    _, seen = run(Engine(Dreamer(), StreamConfig()), film(SCENE, 1))
    assert seen[-1].tracks
    _, results = run(Engine(Dreamer(), StreamConfig()), black)
    assert all(p.tracks == () for p in results)
    assert all(len(p.masks.probability) == 0 for p in results)


@pytest.mark.parametrize("size", [(240, 240), (480, 360), (180, 320)])
@pytest.mark.parametrize("rotate", [0, 90])
def test_boxes_and_masks_are_in_source_pixels(size, rotate):
    height, width = size
    square = Square("cup", width / 2 - 30, height / 2 - 10, side=50)
    frame = paint([square], 0.0, height=height, width=width)
    _, (perception,) = run(Engine(FakeBackend(size=96), StreamConfig(rotate=rotate)), [frame])
    (track,) = perception.tracks
    assert iou(track.box_xyxy, square.box(0.0)) > 0.8
    rows, columns = np.nonzero(perception.masks.index == track.mask_index)
    corner = perception.masks.to_source @ [columns.mean() + 0.5, rows.mean() + 0.5, 1.0]
    np.testing.assert_allclose(corner, [square.x + 25, square.y + 25], atol=min(size) / 24)


def test_windows_are_stamped_with_their_newest_frame_and_repeat_between_hops():
    engine = Engine(FakeBackend(span_s=0.6), StreamConfig())  # p = 0.2 s
    _, results = run(engine, film(SCENE, 2, fps=20))
    assert all(p.stamp_ns == p.frame.stamp_ns for p in results)
    fresh = [p for p in results if p.fresh]
    assert [p.stamp_ns for p in fresh] == [round(k * 0.2 * SECOND) for k in range(10)]
    assert all(p.window_end_ns == p.stamp_ns for p in fresh)
    assert all(p.window_end_ns - p.window_start_ns == round(0.6 * SECOND) for p in fresh[3:])
    for before, after in pairwise(results):
        if not after.fresh:
            assert after.tracks == before.tracks
            assert after.caption == before.caption
            assert after.window_end_ns == before.window_end_ns


def test_hop_spaces_the_windows():
    _, results = run(Engine(FakeBackend(span_s=0.6), StreamConfig(hop=3)), film(SCENE, 3, fps=20))
    stamps = [p.stamp_ns for p in results if p.fresh]
    assert stamps[0] == 0  # the first answer does not wait for the hop
    assert set(np.diff(stamps)) == {round(0.6 * SECOND)}


def test_one_frame_gives_an_answer_of_low_score():
    engine = Engine(FakeBackend(), StreamConfig())
    state, (perception,) = run(engine, film(SCENE, 0.05))
    assert [t.state for t in perception.tracks] == ["new"] * 4
    assert all(t.score <= 0.25 for t in perception.tracks)
    assert perception.caption.score <= 0.25
    (final,) = engine.finish(state)
    assert final.final
    _, results = run(engine, film(SCENE, 1.0))
    scores = [max(t.score for t in p.tracks) for p in results if p.fresh]
    assert scores[:4] == sorted(scores[:4])
    assert scores[-1] > 0.9


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stamp_ns": 90 * SECOND}, "gap of"),
        ({"stamp_ns": SECOND}, "stamps went back"),
        ({"image": np.zeros((120, 200, 3), np.uint8)}, "size changed from 240x240 to 200x120"),
        ({"source": "another"}, "source changed from squares to another"),
        ({"reset": "camera came back"}, "camera came back"),
    ],
)
def test_a_discontinuity_starts_afresh_and_says_why(change, reason):
    engine = Engine(FakeBackend(), StreamConfig())
    frames = film(SCENE, 3)
    state, results = run(engine, frames)
    assert all(p.reset is None for p in results)
    broken = replace(frames[-1], **{"stamp_ns": frames[-1].stamp_ns + SECOND // 20, **change})
    state, perception = engine.step(state, broken)
    assert perception.reset is not None
    assert reason in perception.reset
    assert perception.fresh
    removed = [t for t in perception.tracks if t.state == "removed"]
    assert {t.id for t in removed} == {1, 2, 3, 4}
    for t in perception.tracks:
        assert t.box_xyxy[2] <= broken.width
        assert t.box_xyxy[3] <= broken.height
    assert [c.final for c in perception.closed] == [True]
    assert perception.window_start_ns == perception.window_end_ns == broken.stamp_ns
    # the next frame goes on: told once, ids and segments count on
    state, after = engine.step(state, replace(broken, stamp_ns=broken.stamp_ns + SECOND // 2, reset=None))
    assert after.reset is None
    assert not {t.id for t in after.tracks} & {1, 2, 3, 4}
    assert after.caption is not None
    assert after.caption.segment_id > perception.closed[0].segment_id
    assert state.resets == 1


def test_repeated_stamps_are_no_discontinuity():
    frames = film(SCENE, 1)
    _, results = run(Engine(FakeBackend(), StreamConfig()), [f for frame in frames for f in (frame, frame)])
    assert all(p.reset is None for p in results)
    stamps = [p.stamp_ns for p in results if p.fresh]
    assert (np.diff(stamps) > 0).all()


def test_captions_are_segments_that_name_their_tracks():
    right = film((Square("cup", 20, 100, vx=40),), 3)
    rest = [paint((Square("cup", 140, 100),), 3 + i / 20, index=60 + i) for i in range(60)]
    engine = Engine(FakeBackend(), StreamConfig())
    state, results = run(engine, right + rest)
    closed = [c for p in results for c in p.closed] + list(engine.finish(state))
    assert [c.segment_id for c in closed] == list(range(1, len(closed) + 1))
    texts = [c.text for c in closed if c.end_ns - c.start_ns > SECOND]
    assert texts == ["moves right the cup", "holds the cup"]
    assert closed[-1].track_ids == (1,)
    assert all(c.alternatives for c in (p.caption for p in results))


def test_queries_are_tracked_under_their_own_name():
    engine = Engine(FakeBackend(shuffle=1), StreamConfig(), queries=["  the knife ", "zebra", "the knife"])
    assert engine.queries == ("the knife", "zebra")
    state, results = run(engine, film(SCENE, 2))
    answered = [[(t.id, t.label) for t in p.tracks if t.query == "the knife"] for p in results]
    assert all(hit == answered[0] for hit in answered)
    assert len(answered[0]) == 1
    assert answered[0][0][1] == "the knife"
    assert not any(t.query == "zebra" for p in results for t in p.tracks)
    engine.set_queries(["book", "нож 🔪"])
    state, later = run(engine, [replace(f, stamp_ns=f.stamp_ns + 2 * SECOND) for f in film(SCENE, 1)], state)
    (book,) = [t for t in later[-1].tracks if t.query]
    assert (book.query, book.label, engine.vocabulary[book.label_index]) == ("book", "book", "book")
    assert {t.label for t in later[-1].tracks if not t.query} == {"cup", "knife"}


def test_without_entities_queries_are_scored_for_the_whole_window():
    backend = FakeBackend(capabilities=("caption", "queries"))
    engine = Engine(backend, StreamConfig(), queries=["moves right the cup", "zebra"])
    _, results = run(engine, film((Square("cup", 20, 100, vx=40),), 2))
    last = results[-1]
    assert last.tracks == ()
    assert last.masks is None
    assert last.caption.text == "moves right the cup"
    asked = {a.text: a.score for a in last.caption.alternatives[-2:]}
    assert asked["moves right the cup"] > 0.9
    assert asked["zebra"] < 0.2


def test_embeddings_on_request():
    for wanted in (False, True):
        _, results = run(Engine(FakeBackend(), StreamConfig(embeddings=wanted)), film(SCENE, 0.3))
        assert all((t.embedding is not None) == wanted for p in results for t in p.tracks)


class SlowBackend(FakeBackend):
    def __init__(self, clock, seconds, **options):
        super().__init__(**options)
        self.clock, self.seconds = clock, seconds

    def run_window(self, clip):
        self.clock[0] += self.seconds
        return super().run_window(clip)


@pytest.mark.parametrize(("seconds", "hop"), [(0.01, 1), (0.25, 2), (0.5, 3), (2.0, 4)])
def test_a_live_stream_keeps_pace_with_a_slow_model(monkeypatch, seconds, hop):
    """The newest frame wins: what the camera takes while the network runs is not seen."""
    clock = [0.0]
    monkeypatch.setattr(engine_module, "perf_counter", lambda: clock[0])
    engine = Engine(SlowBackend(clock, seconds), StreamConfig(gap_s=10))  # p = 0.2 s, T = 4
    state, now, results = engine.initial_state(), 0.0, []
    while now < 20:
        frame = replace(paint(SCENE[3:], now), stamp_source="receive", clock="monotonic")
        state, perception = engine.step(state, frame)
        results.append(perception)
        spent = engine.timings.get("network", 0.0)
        now += max(0.02, np.ceil(spent / 0.02) * 0.02)
    fresh = [p for p in results if p.fresh][4:]
    steps = np.diff([p.stamp_ns for p in fresh]) / SECOND
    assert (steps >= seconds - 0.03).all()  # it does not run behind
    assert steps.max() <= seconds + hop * 0.2 + 0.05
    assert all((p.notice is not None) == (hop == 4) for p in fresh)
    if hop == 4:  # windows share no frame, and each is sampled at the period
        assert all(abs((p.window_end_ns - p.window_start_ns) / SECOND - 0.6) < 0.05 for p in fresh)
    assert len({t.id for p in results for t in p.tracks}) == 1


@pytest.mark.parametrize("attention", ["window", "causal"])
def test_a_model_slower_than_the_longest_pause_is_no_gap_in_the_stream(monkeypatch, attention):
    clock = [0.0]
    monkeypatch.setattr(engine_module, "perf_counter", lambda: clock[0])
    backend = SlowBackend(clock, 3.0, attention=attention)
    engine = Engine(backend, StreamConfig(gap_s=2.0))
    state, now, results = engine.initial_state(), 0.0, []
    while now < 40:
        frame = replace(paint(SCENE[3:], now), stamp_source="receive", clock="monotonic")
        state, perception = engine.step(state, frame)
        results.append(perception)
        now += max(0.02, engine.timings.get("network", 0.0))
    assert not any(p.reset for p in results)
    assert {t.id for p in results for t in p.tracks} == {1}
    clock[0] += 9.0  # between two frames: the camera's silence, not the model's
    frame = replace(paint(SCENE[3:], now + 9.0), stamp_source="receive", clock="monotonic")
    assert "gap of" in (engine.step(state, frame)[1].reset or "")


def test_a_process_that_was_stopped_while_the_network_ran_has_a_gap(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(engine_module, "perf_counter", lambda: clock[0])
    backend = SlowBackend(clock, 0.01)
    engine = Engine(backend, StreamConfig(gap_s=2.0))
    frames = [replace(frame, stamp_source="receive", clock="monotonic") for frame in film(SCENE[3:], 2)]
    state, _ = run(engine, frames[:-1])
    backend.seconds = 10.0
    state, last = engine.step(state, replace(frames[-1], stamp_ns=frames[-1].stamp_ns + SECOND // 5))
    assert last.fresh
    later = replace(frames[-1], stamp_ns=frames[-1].stamp_ns + 10 * SECOND)
    assert "gap of" in (engine.step(state, later)[1].reset or "")


def test_a_file_waits_for_a_slow_model(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(engine_module, "perf_counter", lambda: clock[0])
    _, results = run(Engine(SlowBackend(clock, 9.0), StreamConfig()), film(SCENE, 2))
    assert sum(p.fresh for p in results) == 10


def test_timings_name_the_stages_that_ran():
    engine = Engine(FakeBackend(), StreamConfig())
    state, frames = engine.initial_state(), film(SCENE, 0.2)
    state, _ = engine.step(state, frames[0])
    assert set(engine.timings) == {"preprocess", "network", "perception"}
    engine.step(state, frames[1])
    assert engine.timings == {}
    assert engine.warm_up() > 0


def test_impossible_settings_are_the_users_mistake():
    backend = FakeBackend()
    with pytest.raises(UserError, match="hop is 4: give 0"):
        Engine(backend, StreamConfig(hop=4))
    with pytest.raises(UserError, match="span_s is 0"):
        Engine(backend, StreamConfig(span_s=0))
    with pytest.raises(UserError, match="caption bank is empty"):
        Engine(backend, StreamConfig(), phrases=[])


def test_after_a_failure_the_old_state_can_be_reset():
    class Flaky(FakeBackend):
        def run_window(self, clip):
            if self.windows == 5:
                self.windows += 1
                raise RuntimeError("out of memory")
            return super().run_window(clip)

    engine = Engine(Flaky(), StreamConfig())
    state, told, broken = engine.initial_state(), [], None
    for frame in film(SCENE, 3):
        try:
            state, perception = engine.step(state, replace(frame, reset=broken))
        except RuntimeError as error:
            broken = str(error)
            continue
        broken = None
        told.append(perception)
    assert [p.reset for p in told if p.reset] == ["out of memory"]
    assert {t.id for t in told[-1].tracks} == {5, 6, 7, 8}
