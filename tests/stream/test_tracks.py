from __future__ import annotations

from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from henasy_stream.stream.entities import Detections
from henasy_stream.stream.publish import publish
from henasy_stream.stream.tracks import TrackBook, TrackRules, advance, end_all
from tests.stream.fake import SECOND

LABELS = ("cup", "knife", "plate")
HOP = SECOND // 2
GRID, FRAMES, ENTITIES = 6, 3, 4
LEGAL = {
    None: {"new"},
    "new": {"tracked", "lost", "removed"},
    "tracked": {"tracked", "lost", "removed"},
    "lost": {"tracked", "lost", "removed"},
    "removed": set(),
}


def seen(*things, stamp, presence=0.9):
    """Detections of (label index, column of the grid, confidence of the label)."""
    masks = np.zeros((len(things), FRAMES, GRID, GRID), np.float32)
    labels = np.zeros((len(things), len(LABELS)), np.float32)
    embeddings, boxes = np.zeros((len(things), len(LABELS)), np.float32), np.zeros((len(things), 4))
    for i, (label, column, confidence) in enumerate(things):
        masks[i, :, 2:4, column] = 1
        labels[i] = (1 - confidence) / (len(LABELS) - 1)
        labels[i, label] = confidence
        embeddings[i, label] = 1
        boxes[i] = [column * 100, 200, column * 100 + 100, 400]
    return Detections(
        masks=masks,
        embeddings=embeddings,
        labels=labels,
        presence=np.full(len(things), presence, np.float32),
        boxes=boxes,
        slots=np.arange(len(things)),
    ), np.arange(stamp - (FRAMES - 1) * HOP, stamp + 1, HOP)


def play(hops, rules=None, *, start=0, first=True):
    """Runs hops of things (or None: the hop is left out); yields the published tracks of each."""
    rules = rules or TrackRules()
    book = TrackBook.empty(num_entities=ENTITIES, num_frames=FRAMES, grid=GRID, labels=len(LABELS), width=len(LABELS))
    history = []
    for number, things in enumerate(hops):
        stamp = start + number * HOP
        if things is None:
            continue
        detections, stamps = seen(*things, stamp=stamp)
        book, given_to = advance(book, detections, stamps, rules, first=first and number == 0)
        tracks, masks = publish(
            book,
            LABELS,
            now_ns=stamp,
            height=600,
            width=600,
            coverage=1.0,
            lost_s=rules.lost_s,
            seen=given_to,
            detections=detections,
        )
        assert len(masks) == sum(track.mask_index is not None for track in tracks)
        history.append(tracks)
    return book, history


def one(tracks):
    assert len(tracks) == 1
    return tracks[0]


CUP = (0, 1, 0.9)


def test_birth_needs_hits_and_goes_through_new():
    _, history = play([[]] + [[CUP]] * 4, TrackRules(birth_hits=3))
    assert [[t.state for t in tracks] for tracks in history] == [[], [], [], ["new"], ["tracked"]]
    assert history[-1][0].id == 1
    assert history[-1][0].first_seen_ns == HOP


def test_the_first_hop_publishes_at_once():
    _, history = play([[CUP]], TrackRules(birth_hits=3))
    assert one(history[0]).state == "new"


def test_a_flash_is_never_published_and_costs_no_id():
    _, history = play([[], [(1, 4, 0.9)], [], [CUP], [CUP]])
    assert [len(tracks) for tracks in history] == [0, 0, 0, 0, 1]
    assert history[-1][0].id == 1


def test_lost_is_counted_in_seconds_and_removed_comes_once():
    _, history = play([[CUP]] * 2 + [[]] * 7, TrackRules(lost_s=2.0))
    assert [[t.state for t in tracks] for tracks in history] == (
        [["new"], ["tracked"]] + [["lost"]] * 4 + [["removed"]] + [[], []]
    )
    scores = [one(tracks).score for tracks in history[1:7]]
    assert all(a > b for a, b in pairwise(scores[:-1]))
    assert scores[-1] == 0
    assert all(one(tracks).last_seen_ns == HOP for tracks in history[1:7])
    assert all(one(tracks).mask_index is None for tracks in history[2:7])
    # half as many hops, the same seconds
    _, sparse = play([[CUP], [CUP], None, [], None, [], None, [], None, []], TrackRules(lost_s=2.0))
    assert [[t.state for t in tracks] for tracks in sparse] == [
        ["new"],
        ["tracked"],
        ["lost"],
        ["lost"],
        ["removed"],
        [],
    ]


def test_a_lost_track_is_found_again_elsewhere_by_what_it_is():
    _, history = play([[CUP]] * 3 + [[]] * 2 + [[(0, 5, 0.9)]])
    assert one(history[-1]).id == one(history[0]).id
    assert one(history[-1]).state == "tracked"


def test_another_thing_in_the_same_place_is_another_track():
    _, history = play([[CUP]] * 3 + [[]] * 2 + [[(1, 1, 0.9)]] * 2)
    assert {t.id: (t.label, t.state) for t in history[-1]} == {1: ("cup", "lost"), 2: ("knife", "new")}


def test_ids_follow_places_when_slots_and_equal_things_swap():
    a, b = (0, 1, 0.9), (0, 4, 0.9)
    _, history = play([[a, b], [b, a], [a, b], [b, a]])
    boxes = [{t.id: t.box_xyxy for t in tracks} for tracks in history]
    assert all(hop == boxes[0] for hop in boxes)


def test_a_label_does_not_flicker_but_follows_the_evidence():
    unsure = [(1, 1, 0.6)]
    hops = [[CUP]] * 4 + [unsure] + [[CUP]] * 2 + [unsure] + [[CUP]]
    _, history = play(hops)
    assert {one(tracks).label for tracks in history} == {"cup"}
    _, history = play([unsure] + [[CUP]] * 6)
    assert one(history[-1]).label == "cup"
    assert one(history[-1]).id == 1
    hypotheses = one(history[-1]).hypotheses
    assert hypotheses[0].label == "cup"
    assert sum(h.score for h in hypotheses) == pytest.approx(1.0, abs=1e-5)


def test_a_book_full_of_lost_tracks_gives_up_the_oldest():
    hops: list[list[tuple[int, int, float]]] = [[]]
    for group in range(12):  # 4 new things each time, never seen again, all remembered for ever
        hops += [[(group % 3, column, 0.9) for column in range(4)]] * 2 + [[]]
    rules = TrackRules(lost_s=1e6)
    _, history = play(hops, rules)
    assert max(len(tracks) for tracks in history) <= 8 * ENTITIES
    check_lives(history)


def test_the_book_that_goes_in_is_not_changed():
    book, _ = play([[CUP]] * 2)
    before = book.copy()
    detections, stamps = seen((1, 1, 0.9), CUP, stamp=2 * HOP)
    advance(book, detections, stamps, TrackRules())
    for item in fields(TrackBook):
        np.testing.assert_array_equal(getattr(book, item.name), getattr(before, item.name))


def test_a_reset_removes_what_was_published():
    book, _ = play([[CUP], [CUP], [CUP, (1, 4, 0.9)]])  # the knife is tentative
    tracks, _ = publish(end_all(book), LABELS, now_ns=9 * HOP, height=300, width=150, coverage=1.0, lost_s=2.0)
    assert [(t.label, t.state) for t in tracks] == [("cup", "removed")]
    assert tracks[0].box_xyxy == (100, 200, 150, 300)  # inside the frame it is told with


def check_lives(history):
    """States come in legal order, ids are unique, dense, and never come back."""
    state: dict[int, str] = {}
    for tracks in history:
        ids = [t.id for t in tracks]
        assert len(set(ids)) == len(ids)
        for track in tracks:
            assert track.state in LEGAL[state.get(track.id)], (track, state.get(track.id))
            if track.state == "new":
                assert track.id == max(state, default=0) + 1
            state[track.id] = track.state
            assert 0 <= track.score <= 1
            assert track.first_seen_ns <= track.last_seen_ns
            assert (track.mask_index is None) == (track.state in ("lost", "removed"))
        # a track is told in every hop until it is removed
        assert {i for i, s in state.items() if s != "removed"} <= set(ids)


things = st.tuples(st.integers(0, 2), st.integers(0, 5), st.floats(0.4, 1.0))
scenes = st.lists(
    st.one_of(st.none(), st.lists(things, max_size=ENTITIES, unique_by=lambda thing: thing[1])), max_size=40
)


@settings(deadline=None, max_examples=150)
@given(scenes, st.integers(1, 3), st.sampled_from([0.0, 0.6, 2.0, 60.0]), st.booleans())
def test_every_life_is_legal_whatever_is_seen(hops, birth_hits, lost_s, first):
    _, history = play(hops, TrackRules(birth_hits=birth_hits, lost_s=lost_s), first=first)
    check_lives(history)


@settings(deadline=None, max_examples=50)
@given(scenes, st.randoms(use_true_random=False))
def test_permuted_slots_give_the_same_tracks(hops, random):
    """But for the order in which things of one hop are numbered."""

    def shape(history):
        return [sorted((t.state, t.box_xyxy, t.label, t.first_seen_ns) for t in tracks) for tracks in history]

    # labels and places in general position, so that no two pairs are equally good
    hops = [hop and [(c % 3, c, 0.9) for _, c, _ in hop] for hop in hops]
    shuffled = [hop and random.sample(hop, len(hop)) for hop in hops]
    assert shape(play(hops)[1]) == shape(play(shuffled)[1])


def test_hits_of_a_birth_follow_each_other():
    _, history = play([[], [CUP], [], [CUP], [], [CUP], []], TrackRules(birth_hits=2))
    assert all(tracks == () for tracks in history)
