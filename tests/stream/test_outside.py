"""Entities from outside: the tracker, captions and queries on boxes of somebody else's detector."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

import henasy_stream as hs
from henasy_stream.config import StreamConfig
from henasy_stream.errors import UserError
from henasy_stream.preprocess import View
from henasy_stream.sources.world import WorldTruth, world_from_uri
from henasy_stream.stream.engine import Engine
from henasy_stream.stream.outside import MOST_WAITING, take_columns
from henasy_stream.stream.outside_tracks import GRID, MOST_BOXES, draw_boxes, empty_outside
from henasy_stream.stream.state import StreamState
from henasy_stream.types import EntityBox, EntityBoxes, Frame, Perception
from tests.stream.fake import SECOND, FakeBackend, Square, film

CAPTIONS_ONLY = ("caption", "queries")
CUPS = (Square("cup", 10, 10, vx=25), Square("cup", 10, 180, vx=18), Square("knife", 180, 60, vx=-20, vy=10))


def engine(capabilities: Sequence[str] = CAPTIONS_ONLY, **options: object) -> Engine:
    return Engine(FakeBackend(capabilities=capabilities), StreamConfig(entities="outside", **options))  # type: ignore[arg-type]


def boxes_of(squares: Iterable[Square], time_s: float, names: dict[str, str] | None = None) -> EntityBoxes:
    found = [(s.noun, box) for s in squares if (box := s.box(time_s)) is not None]
    boxes = tuple(EntityBox(label=(names or {}).get(noun, noun), box_xyxy=box) for noun, box in found)
    return EntityBoxes(stamp_ns=round(time_s * SECOND), boxes=boxes)


def true_boxes(frame: Frame, squares: Sequence[Square] = CUPS) -> list[EntityBoxes]:
    return [boxes_of(squares, frame.stamp_ns / SECOND)]


def run(
    engine: Engine,
    frames: Iterable[Frame],
    arriving: Callable[[Frame], Sequence[EntityBoxes]],
    state: StreamState | None = None,
) -> tuple[StreamState, list[Any]]:
    state, results = state or engine.initial_state(), list[Perception]()
    for frame in frames:
        state, perception = engine.step(state, frame, arriving(frame))
        results.append(perception)
    return state, results


def by_square(results: list[Perception], squares: Sequence[Square] = CUPS) -> dict[int, Counter[int]]:
    """For every square how often each id was on it."""
    found: dict[int, Counter[int]] = defaultdict(Counter)
    for p in (p for p in results if p.fresh):
        for number, square in enumerate(squares):
            box = square.box(p.window_end_ns / SECOND)
            for track in p.tracks:
                if box and track.state in ("new", "tracked") and np.abs(np.subtract(track.box_xyxy, box)).max() < 15:
                    found[number][track.id] += 1
    return found


@pytest.mark.parametrize("capabilities", [CAPTIONS_ONLY, ("caption", "entities", "queries")])
def test_a_model_with_or_without_entities_tracks_what_it_is_given(capabilities):
    state, results = run(engine(capabilities), film(CUPS, 4), true_boxes)
    found = by_square(results)
    assert [set(found[i]) for i in range(3)] == [{1}, {2}, {3}]
    assert Counter(t.label for t in results[-1].tracks) == {"cup": 2, "knife": 1}
    assert results[0].tracks[0].state == "new"
    assert all(t.state == "tracked" for t in results[-1].tracks)
    assert state.outside.used == state.hops
    assert len(results[-1].masks.probability) == 3


def test_names_that_nobody_knew_ground_captions_and_answer_queries():
    frames = film((), 2)
    wanted = ["opens the teapot", "opens the window"]
    model = FakeBackend(capabilities=CAPTIONS_ONLY)
    e = Engine(model, StreamConfig(entities="outside"), phrases=wanted, queries=["teapot"])
    boxes = (
        EntityBox(label="teapot", box_xyxy=(20, 20, 90, 90)),
        EntityBox(label=" left  hand ", box_xyxy=(90, 60, 130, 99)),
    )
    _, results = run(e, frames, lambda f: [EntityBoxes(stamp_ns=f.stamp_ns, boxes=boxes)])
    last = results[-1]
    assert [(t.label, t.label_index, t.query) for t in last.tracks] == [
        ("teapot", -1, "teapot"),
        ("left hand", -1, None),
    ]
    assert [h.label for h in last.tracks[0].hypotheses] == ["teapot"]
    text, named = last.caption.text, last.caption.track_ids
    assert named == ((1, 2) if text == "opens the teapot" else (2,))  # what it names, and hands


def test_a_phrase_whose_thing_is_known_but_not_seen_weighs_less():
    frames = film((), 4)
    e = Engine(FakeBackend(capabilities=CAPTIONS_ONLY), StreamConfig(entities="outside"), phrases=["a pot", "a lid"])

    def arriving(frame: Frame) -> list[EntityBoxes]:
        name = "pot" if frame.stamp_ns < 2 * SECOND else "lid"
        return [EntityBoxes(stamp_ns=frame.stamp_ns, boxes=(EntityBox(label=name, box_xyxy=(9, 9, 70, 70)),))]

    _, results = run(e, frames, arriving)

    def pot(p: Any) -> float:
        return next(c.score for c in (p.caption, *p.caption.alternatives) if c.text == "a pot")

    assert pot(results[-1]) < 0.6 * pot(results[len(frames) // 2 - 1])


def test_boxes_of_the_vocabulary_carry_its_index_and_masks_lie_on_them():
    _, results = run(engine(("caption", "entities")), film(CUPS, 2, height=240, width=320), true_boxes)
    last = results[-1]
    assert [t.label_index for t in last.tracks] == [0, 0, 1]
    index, affine = last.masks.index, last.masks.to_source
    assert index.shape == (GRID, GRID)
    for track in last.tracks:
        rows, columns = np.nonzero(index == track.mask_index)
        low = affine @ [columns.min(), rows.min(), 1]
        high = affine @ [columns.max() + 1, rows.max() + 1, 1]
        visible = np.clip(track.box_xyxy, [40, 0, 40, 0], [280, 240, 280, 240])  # of a 4:3 frame the square is seen
        assert np.abs(np.concatenate([low, high]) - visible).max() <= 240 / GRID


def test_the_smaller_of_two_boxes_is_in_front():
    view = View.plan(100, 100, 64)
    large, small = draw_boxes(np.array([[0.0, 0, 100, 100], [40, 40, 60, 60]]), view)
    assert small[GRID // 2, GRID // 2] > large[GRID // 2, GRID // 2] > 0.5


class TestTime:
    """Boxes that come late, in any order, not at all, or from another clock."""

    @pytest.mark.parametrize("delay_s", [0.1, 0.3, 0.55])
    def test_late_boxes_within_a_window_are_used_at_the_next_hop(self, delay_s):
        def arriving(frame: Frame) -> list[EntityBoxes]:
            then = round((frame.stamp_ns / SECOND - delay_s) * 20) / 20
            return [boxes_of(CUPS, then)] if then >= 0 else []

        state, results = run(engine(), film(CUPS, 6), arriving)
        assert state.outside.late == 0
        assert state.outside.used >= 0.8 * state.hops
        last = results[-1]
        assert len({t.id for p in results for t in p.tracks}) == 3
        assert all(abs(t.last_seen_ns + delay_s * SECOND - last.window_end_ns) < 0.25 * SECOND for t in last.tracks)

    def test_later_ones_are_counted_and_told(self):
        def arriving(frame: Frame) -> list[EntityBoxes]:
            then = frame.stamp_ns / SECOND - 1.0
            return [boxes_of(CUPS, then)] if then >= 0 else []

        state, results = run(engine(), film(CUPS, 3), arriving)
        assert state.outside.used == 0
        assert state.outside.late == 40
        assert all(p.tracks == () for p in results)
        assert "sets of boxes came more than 0.6 s after their frame; they are not used" in results[-1].notice

    def test_boxes_of_another_clock_are_counted_and_told(self):
        state, results = run(
            engine(), film(CUPS, 1), lambda f: [EntityBoxes(stamp_ns=f.stamp_ns + 1_764_000_000 * SECOND)]
        )
        assert state.outside.ahead == 20
        assert state.outside.waiting == ()
        assert "stamped ahead of the frames" in results[-1].notice

    def test_order_of_arrival_changes_nothing(self):
        def in_order(frame: Frame) -> list[EntityBoxes]:
            return pending(frame, lambda sets: sets)

        def backwards(frame: Frame) -> list[EntityBoxes]:
            return pending(frame, lambda sets: sets[::-1])

        def pending(frame: Frame, order: Callable[[list[EntityBoxes]], list[EntityBoxes]]) -> list[EntityBoxes]:
            if frame.index % 4 != 3:
                return []
            return order([boxes_of(CUPS, i / 20) for i in range(frame.index - 3, frame.index + 1)])

        stories = [run(engine(), film(CUPS, 4), arriving)[1] for arriving in (in_order, backwards)]
        assert [p.tracks for p in stories[0]] == [p.tracks for p in stories[1]]
        assert len(stories[0][-1].tracks) == 3

    def test_jumbled_by_up_to_a_third_of_a_second_ids_stay(self):
        rng, frames = np.random.default_rng(1), film(CUPS, 6)
        arrival = {i: i + int(rng.integers(0, 7)) for i in range(len(frames))}

        def arriving(frame: Frame) -> list[EntityBoxes]:
            return [boxes_of(CUPS, i / 20) for i, at in arrival.items() if at == frame.index]

        state, results = run(engine(), frames, arriving)
        assert {t.id for p in results for t in p.tracks} == {1, 2, 3}
        assert state.outside.late == 0

    def test_while_nothing_new_comes_tracks_stay_for_a_window_and_then_are_lost(self):
        _, results = run(engine(), film(CUPS, 4), lambda f: true_boxes(f) if f.stamp_ns <= 2 * SECOND else [])
        states = [(p.window_end_ns / SECOND, {t.state for t in p.tracks}) for p in results if p.fresh]
        assert all(s == {"tracked"} for t, s in states if 0.5 < t < 2.5)
        assert all(s == {"lost"} for t, s in states if 2.85 < t < 3.9)
        held = [t for p in results if p.fresh and 2.2 * SECOND < p.stamp_ns < 2.5 * SECOND for t in p.tracks]
        assert held
        assert {t.last_seen_ns for t in held} == {2 * SECOND}

    def test_an_empty_answer_says_that_nothing_is_there(self):
        _, results = run(engine(), film(CUPS, 3), lambda f: true_boxes(f, CUPS if f.stamp_ns < 2 * SECOND else ()))
        assert {t.state for t in results[-1].tracks} == {"lost"}

    def test_after_a_reset_ids_go_on_and_old_boxes_are_forgotten(self):
        frames = film(CUPS, 2)
        frames += [replace(f, stamp_ns=f.stamp_ns + 60 * SECOND) for f in film(CUPS, 2)]
        later = tuple(replace(s, x=s.x - 60 * s.vx, y=s.y - 60 * s.vy) for s in CUPS)
        _, results = run(engine(), frames, lambda f: true_boxes(f, CUPS if f.stamp_ns < 30 * SECOND else later))
        at = next(i for i, p in enumerate(results) if p.reset)
        assert sorted((t.id, t.state) for t in results[at].tracks) == [
            *((i, "removed") for i in (1, 2, 3)),
            *((i, "new") for i in (4, 5, 6)),
        ]

    def test_what_waits_is_bounded(self):
        sets = [EntityBoxes(stamp_ns=i) for i in range(5000)]
        book = empty_outside().receive(sets, 0, 5000, first=False)
        assert len(book.waiting) == MOST_WAITING
        assert book.waiting[-1].stamp_ns == 4999


class TestWhatBoxesMayBe:
    def test_unsure_empty_and_outer_boxes_are_left_out(self):
        odd = (
            EntityBox(label="cup", box_xyxy=(10, 10, 50, 50), score=0.2),
            EntityBox(label="cup", box_xyxy=(70, 10, 70, 50)),
            EntityBox(label="cup", box_xyxy=(900, 900, 950, 950)),
            EntityBox(label="", box_xyxy=(-50, -50, 60, 1e6)),
        )
        state, results = run(engine(), film((), 1), lambda f: [EntityBoxes(stamp_ns=f.stamp_ns, boxes=odd)])
        assert [(t.label, t.box_xyxy) for t in results[-1].tracks] == [("entity", (0.0, 0.0, 60.0, 240.0))]
        assert state.outside.beyond > 0
        assert "boxes lie outside the frame" in results[-1].notice

    def test_more_boxes_and_names_than_there_is_room_for(self):
        rng = np.random.default_rng(0)

        def arriving(frame: Frame) -> list[EntityBoxes]:
            corners = rng.uniform(0, 200, (100, 2))
            boxes = tuple(
                EntityBox(label=f"{frame.index} {i}", box_xyxy=(x, y, x + 20, y + 20))
                for i, (x, y) in enumerate(corners)
            )
            return [EntityBoxes(stamp_ns=frame.stamp_ns, boxes=boxes)]

        state, results = run(engine(), film((), 4), arriving)
        assert len(state.outside.names) == len(set(state.outside.names)) == MOST_BOXES
        assert max(len([t for t in p.tracks if t.mask_index]) for p in results) <= MOST_BOXES

    def test_columns_of_names_that_nobody_bears_are_taken_again(self):
        names = take_columns(("entity", "cup", "", "fork"), ["cup", "pan", "lid"], np.array([True, False, False, True]))
        assert names == ("entity", "cup", "pan", "fork")
        assert take_columns(("entity", "cup"), ["cup", "pan"], np.array([True, True])) == ("entity", "cup")

    def test_a_detector_that_wavers_between_two_names_keeps_the_id(self):
        names = [{"cup": "cup"}, {"cup": "cup"}, {"cup": "mug"}]
        _, results = run(
            engine(), film(CUPS[:1], 5), lambda f: [boxes_of(CUPS[:1], f.stamp_ns / SECOND, names[f.index // 4 % 3])]
        )
        assert {t.id for p in results for t in p.tracks} == {1}
        assert Counter(t.label for t in results[-1].tracks) == {"cup": 1}

    def test_an_engine_of_its_own_entities_says_what_to_do(self):
        own = Engine(FakeBackend(), StreamConfig())
        with pytest.raises(UserError, match='entities="outside"'):
            own.step(own.initial_state(), film((), 1)[0], [EntityBoxes(stamp_ns=0)])


def test_state_is_saved_with_what_waits(tmp_path):
    frames, e = film(CUPS, 4), engine()

    def ahead(frame: Frame) -> list[EntityBoxes]:
        return [boxes_of(CUPS, (frame.index + 4) / 20)]

    state, _ = run(e, frames[:40], ahead)
    assert state.outside.waiting
    state.save(tmp_path / "s.npz")
    again = StreamState.load(tmp_path / "s.npz")
    assert again.outside == state.outside
    stories = [[p.tracks for p in run(engine(), frames[40:], ahead, s)[1]] for s in (state, again)]
    assert stories[0] == stories[1]


def test_stream_takes_a_detector():
    model = FakeBackend(capabilities=CAPTIONS_ONLY)
    results = list(hs.stream(model, film(CUPS, 2), entities=true_boxes))
    assert [t.label for t in results[-2].tracks] == ["cup", "cup", "knife"]


def corners(box: np.ndarray[Any, np.dtype[np.float32]]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = map(float, box)
    return x0, y0, x1, y1


@lru_cache
def world_truths(seed: int) -> tuple[WorldTruth, ...]:
    """20 s at five frames a second."""
    view = world_from_uri(f"world?seed={seed}&size=160x96&fps=5")
    return tuple(view.truth(view.stamp_ns(index)) for index in range(100))


@pytest.mark.parametrize("fault", ["none", "boxes dropped", "sets dropped", "late", "jumbled"])
@pytest.mark.parametrize("seed", [3, 11])
def test_on_the_worlds_true_boxes_ids_hold(seed, fault):
    """All of them, 30 % missing in two ways, two frames late, and up to three frames late in any order."""
    truths, rng, period = world_truths(seed), np.random.default_rng(seed), SECOND // 5
    sets: dict[int, list[EntityBoxes]] = defaultdict(list)
    for index, truth in enumerate(truths):
        there = [
            EntityBox(label=thing.noun, box_xyxy=corners(box))
            for thing, box in zip(truth.objects, truth.boxes, strict=True)
            if np.isfinite(box).all() and (fault != "boxes dropped" or rng.random() >= 0.3)
        ]
        if fault != "sets dropped" or rng.random() >= 0.3:
            delay = {"late": 2, "jumbled": int(rng.integers(0, 4))}.get(fault, 0)
            sets[index + delay].append(EntityBoxes(stamp_ns=index * period, boxes=tuple(there)))
    picture = np.zeros((96, 160, 3), np.uint8)
    frames = [Frame(image=picture, stamp_ns=i * period, index=i, source="world") for i in range(len(truths))]
    state, results = run(engine(), frames, lambda f: sets[f.index][::-1])
    ids: dict[int, Counter[int]] = defaultdict(Counter)
    for track in (t for p in results if p.fresh for t in p.tracks if t.state in ("new", "tracked")):
        truth = truths[track.last_seen_ns // period]
        for thing, box in zip(truth.objects, truth.boxes, strict=True):
            if thing.noun == track.label and np.abs(np.subtract(track.box_xyxy, box)).max() < 1:
                ids[thing.track][track.id] += 1
    total, agree = sum(c.total() for c in ids.values()), sum(max(c.values()) for c in ids.values())
    print(f"seed {seed}, {fault}: {agree / total:.3f} of {total} sightings under one id")
    assert state.outside.late == 0
    assert total > 250
    assert agree / total > 0.85
