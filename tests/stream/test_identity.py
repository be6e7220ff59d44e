"""Whole kinds of trouble: twins that cross, long absence, slots that change places, dropped frames, noise without end.

Everything is told by stamped detections, of windows that share frames and of single frames, as causal weights give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from henasy_stream.stream.entities import Detections
from henasy_stream.stream.tracks import LOST, NEW, TRACKED, TrackBook, TrackRules, advance, in_use
from tests.stream.fake import SECOND

HOP_S, GRID, CELL, KINDS, SLOTS, SIDE = 0.5, 20, 18, 4, 8, 4.0
FRAMES = pytest.mark.parametrize("frames", [1, 4])


@dataclass(frozen=True)
class Thing:
    """`at`: its left upper corner in cells at a time in seconds, None while it cannot be seen."""

    kind: int
    at: Callable[[float], tuple[float, float] | None]


def still(x: float, y: float, *hidden: tuple[float, float]) -> Callable[[float], tuple[float, float] | None]:
    return lambda t: None if any(a <= t < b for a, b in hidden) else (x, y)


def look(
    things: Sequence[Thing], times: Sequence[float], rng: np.random.Generator
) -> tuple[Detections, np.ndarray, list[int]]:
    """A window whose samples are at `times`: detections in random order from random slots, and which thing each is."""
    shown = [k for k, thing in enumerate(things) if thing.at(times[-1]) is not None]
    order = rng.permutation(shown).astype(int).tolist()
    masks = np.zeros((len(order), len(times), GRID, GRID), np.float32)
    boxes, labels = np.zeros((len(order), 4)), np.full((len(order), KINDS), 0.02, np.float32)
    embeddings = rng.normal(0, 0.1, (len(order), 16)).astype(np.float32)
    for row, k in enumerate(order):
        for t, time in enumerate(times):
            corner = things[k].at(time)
            if corner is not None:
                x, y = (round(v) for v in corner)
                masks[row, t, max(y, 0) : y + int(SIDE), max(x, 0) : x + int(SIDE)] = 0.9
                boxes[row] = np.array([*corner, corner[0] + SIDE, corner[1] + SIDE]) * CELL
        labels[row, things[k].kind] = 0.9
        embeddings[row, things[k].kind] += 1
    return (
        Detections(
            masks=masks,
            embeddings=embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True),
            labels=labels,
            presence=np.full(len(order), 0.9, np.float32),
            boxes=boxes + rng.normal(0, 1, boxes.shape),
            slots=rng.integers(0, SLOTS, len(order)),
        ),
        np.round(np.array(times) * SECOND).astype(np.int64),
        order,
    )


def watch(
    things: Sequence[Thing], times: Sequence[float], frames: int, rules: TrackRules | None = None
) -> Iterator[tuple[float, dict[int, int], TrackBook]]:
    """(time, id of each thing that has one, book) of every hop at `times`; a window ends with the newest of them."""
    rng, rules = np.random.default_rng(5), rules or TrackRules()
    book = TrackBook.empty(num_entities=SLOTS, num_frames=frames, grid=GRID, labels=KINDS, width=16)
    for index, time in enumerate(times):
        window = [times[max(0, index - back)] for back in range(frames)][::-1]
        found, stamps, order = look(things, window, rng)
        book, seen = advance(book, found, stamps, rules, first=index == 0)
        rows = book.rows(NEW, TRACKED)
        yield time, {order[seen[row]]: int(book.ids[row]) for row in rows}, book


def steps(seconds: float) -> list[float]:
    return [k * HOP_S for k in range(round(seconds / HOP_S))]


def ids_over_time(things: Sequence[Thing], times: Sequence[float], frames: int) -> list[set[int]]:
    """All ids that each thing had."""
    found: list[set[int]] = [set() for _ in things]
    for _, ids, _ in watch(things, times, frames):
        assert len(set(ids.values())) == len(ids)
        for thing, number in ids.items():
            found[thing].add(number)
    return found


@FRAMES
@pytest.mark.parametrize("rest_s", [0.0, 30.0])
def test_equal_things_that_cross_keep_their_ids(frames, rest_s):
    """Also after they have lain in their places for long."""
    way = lambda t: float(np.clip(t - rest_s, 0, 8)) / 8  # noqa: E731
    things = [
        Thing(0, lambda t: (1 + 14 * way(t), 5.0)),
        Thing(0, lambda t: (15 - 14 * way(t), 8.0)),
        Thing(1, still(8, 14)),
    ]
    assert ids_over_time(things, steps(rest_s + 12), frames) == [{n} for n in _ids(things)]


def _ids(things: Sequence[Thing]) -> list[int]:
    """As the first hop numbers the things."""
    ids = next(watch(things, [0.0], 1))[1]
    return [ids[k] for k in range(len(things))]


@FRAMES
def test_what_was_hidden_for_long_comes_back_as_itself(frames):
    hidden = (6.0, 6.0 + TrackRules().lost_s - 1)
    things = [Thing(0, still(2, 3, hidden)), Thing(1, still(10, 3)), Thing(0, still(14, 12))]
    found = ids_over_time(things, steps(30), frames)
    assert [len(ids) for ids in found] == [1, 1, 1]


@FRAMES
def test_what_is_put_down_elsewhere_is_itself_and_what_lies_in_its_place_is_not(frames):
    carried = Thing(0, lambda t: (2.0, 3.0) if t < 5 else None if t < 9 else (14.0, 12.0))
    other = Thing(2, lambda t: None if t < 8 else (2.0, 3.0))
    found = ids_over_time([carried, other, Thing(1, still(8, 8))], steps(20), frames)
    assert [len(ids) for ids in found] == [1, 1, 1]
    assert not found[0] & found[1]


@FRAMES
def test_what_comes_back_after_the_time_to_forget_is_new_and_no_id_returns(frames):
    late = 2 * TrackRules().lost_s
    found = ids_over_time([Thing(0, still(2, 3, (6.0, 6.0 + late)))], steps(late + 20), frames)
    assert len(found[0]) == 2


@FRAMES
@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_dropped_frames_change_no_id(frames, share):
    """Also of equal things that move, and when the rate of the frames changes as well."""
    rng = np.random.default_rng(round(100 * share))
    times = [t for t in steps(40) if t == 0 or rng.random() >= share]
    times += [40 + k / 5 for k in range(60)]
    things = [
        Thing(0, lambda t: (8 + 6 * np.sin(t / 4), 2.0)),
        Thing(0, lambda t: (8 - 6 * np.sin(t / 4), 13.0)),
        Thing(1, still(1, 8)),
        Thing(2, still(15, 8)),
    ]
    assert [len(ids) for ids in ids_over_time(things, times, frames)] == [1, 1, 1, 1]


corners = st.tuples(st.floats(0, 16), st.floats(0, 16))
scenes = st.lists(st.lists(st.tuples(st.integers(0, KINDS - 1), corners), max_size=2 * SLOTS), max_size=16)


@settings(deadline=None, max_examples=60)
@given(scenes, st.sampled_from([1, 4]), st.sampled_from([0.5, 10.0, 1e6]))
def test_whatever_is_seen_ids_are_unique_and_never_return_and_the_book_is_bounded(hops, frames, lost_s):
    rng, rules = np.random.default_rng(0), TrackRules(lost_s=lost_s)
    book = TrackBook.empty(num_entities=SLOTS, num_frames=frames, grid=GRID, labels=KINDS, width=16)
    size, gone, alive = len(book.stage), set[int](), set[int]()
    for index, hop in enumerate(hops):
        things = [Thing(kind, still(*corner)) for kind, corner in hop]
        times = [(index - back) * HOP_S for back in range(frames)][::-1]
        found, stamps, _ = look(things, times, rng)
        book, seen = advance(book, found, stamps, rules, first=index == 0)
        given_out = seen[seen >= 0]
        assert sorted(given_out) == list(range(len(found)))  # each detection has one row, no row two
        assert len(book.stage) == size >= len(in_use(book))
        ids = book.ids[book.rows(NEW, TRACKED, LOST)].tolist()
        assert len(set(ids)) == len(ids)
        assert not gone & set(ids)
        assert all(number < book.next_id for number in ids)
        gone |= alive - set(ids)
        alive = set(ids)
