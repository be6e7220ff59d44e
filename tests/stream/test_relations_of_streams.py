"""Relations as the engine publishes them: of live tracks, for boxes from outside, across resets and saved states."""

from __future__ import annotations

from pathlib import Path

import pytest

import henasy_stream as hs
from henasy_stream.sources.world import WorldSource
from henasy_stream.stream.state import StreamState
from henasy_stream.types import Perception, Relation
from tests.stream.fake import SECOND, Square, film
from tests.stream.test_outside import boxes_of, engine, run

HELD = (Square("cup", 100, 120, side=90), Square("knife", 110, 80, side=60, hidden=(3.0, 4.0)), Square("book", 5, 5))
NAMES = {"cup": "left hand"}


def labels(perception: Perception, relation: Relation) -> tuple[str, str, str]:
    names = {track.id: track.label for track in perception.tracks}
    return names[relation.subject_id], relation.predicate, names[relation.object_id]


def published(squares: tuple[Square, ...], seconds: float) -> list[Perception]:
    _, results = run(
        engine(), film(squares, seconds), lambda frame: [boxes_of(squares, frame.stamp_ns / SECOND, NAMES)]
    )
    return [p for p in results if p.fresh]


def test_a_hand_of_a_users_detector_touches_the_thing_at_its_tip() -> None:
    results = published(HELD, 6.0)
    said = [[labels(p, r) for r in p.relations] for p in results]
    touching = ("left hand", "contacts", "knife")
    assert all(touching in now for p, now in zip(results, said, strict=True) if 0.5 < p.stamp_ns / SECOND < 2.5)
    assert not any("book" in relation for now in said for relation in now)
    away = [now for p, now in zip(results, said, strict=True) if 3.3 < p.stamp_ns / SECOND < 3.9]
    assert away
    assert not any(touching in now for now in away)
    first = {r.start_ns for p in results if p.stamp_ns < 3 * SECOND for r in p.relations}
    later = {r.start_ns for p in results if p.stamp_ns > 5 * SECOND for r in p.relations}
    assert len(first) == len(later) == 1
    assert later > first or min(later) > 3.9 * SECOND


def test_relations_speak_of_tracks_that_are_seen_in_the_same_result() -> None:
    for p in published(HELD, 5.0):
        seen = {track.id for track in p.tracks if track.state in ("new", "tracked")}
        assert {i for r in p.relations for i in (r.subject_id, r.object_id)} <= seen


@pytest.fixture(scope="module")
def demo() -> hs.Engine:
    return hs.Engine(hs.load("demo"), hs.StreamConfig())


def test_the_demo_model_says_who_touches_what_until_a_reset_and_across_a_saved_state(
    demo: hs.Engine, tmp_path: Path
) -> None:
    source = WorldSource("world?seed=7&size=240x240&fps=2")
    frames = [frame for _ in range(14) if (frame := source.read()) is not None]
    state, said = demo.initial_state(), list[Relation]()
    for frame in frames[:8]:
        state, perception = demo.step(state, frame)
        said += perception.relations
    assert any(relation.predicate == "contacts" for relation in said)
    state.save(tmp_path / "state.npz")
    copy = StreamState.load(tmp_path / "state.npz")
    for frame in frames[8:12]:
        state, one = demo.step(state, frame)
        copy, other = demo.step(copy, frame)
        assert one.relations == other.relations
    cut = hs.Frame(image=frames[12].image, stamp_ns=frames[12].stamp_ns, index=12, source="elsewhere")
    state, perception = demo.step(state, cut)
    assert perception.reset is not None
    assert all(relation.start_ns == cut.stamp_ns for relation in perception.relations)
