"""Relations from sight to published: evidence, smoothing, hysteresis, and what ends them."""

from __future__ import annotations

import numpy as np
import pytest

from henasy_stream.stream.relation_evidence import (
    CONTACT_EVIDENCE,
    Sight,
    contact_evidence,
    is_hand,
    look,
    tip,
)
from henasy_stream.stream.relation_weights import Weights
from henasy_stream.stream.relations import ROOM, SMOOTHING_S, RelationBook, probability, relate
from henasy_stream.types import Box, Hypothesis, Masks, Track

SECOND = 1_000_000_000
NEAR = Weights(evidence=(0.0, 0.0, -100.0, 0.0, 0.0, 0.0), offset=5.0)
"""A gap of 0 means contact, one of a tenth of the picture does not."""


def track(number: int, label: str, box: Box, mask_index: int | None = 1, **more: object) -> Track:
    return Track(
        id=number,
        label=label,
        label_index=0,
        label_score=0.9,
        score=0.9,
        state="tracked" if mask_index else "lost",
        box_xyxy=box,
        mask_index=mask_index,
        first_seen_ns=0,
        last_seen_ns=0,
        **more,  # type: ignore[arg-type]
    )


def scene(*things: tuple[int, str, Box], size: int = 100, grid: int = 20) -> Sight:
    """A picture of 100 x 100 pixels whose masks are the boxes."""
    masks, tracks = np.zeros((len(things), grid, grid), np.float32), []
    for row, (number, label, box) in enumerate(things):
        x0, y0, x1, y1 = (round(value * grid / size) for value in box)
        masks[row, y0:y1, x0:x1] = 0.8
        tracks.append(track(number, label, box, row + 1))
    scale = size / grid
    return look(tuple(tracks), Masks(probability=masks, to_source=np.array([[scale, 0, 0], [0, scale, 0]])))


HAND: tuple[int, str, Box] = (1, "hand", (40, 50, 60, 100))
CUP: tuple[int, str, Box] = (2, "cup", (40, 30, 60, 60))
BOOK: tuple[int, str, Box] = (3, "book", (0, 0, 20, 20))


def values(sight: Sight, subject: int, thing: int) -> dict[str, float]:
    pairs = contact_evidence(sight)
    row = pairs.ids.tolist().index([subject, thing])
    return dict(zip(CONTACT_EVIDENCE, pairs.evidence[row].tolist(), strict=True))


def test_evidence_of_contact_says_how_hand_and_thing_lie_to_each_other() -> None:
    sight = scene(HAND, CUP, BOOK)
    cup, book = values(sight, 1, 2), values(sight, 1, 3)
    assert cup["gap"] == 0
    assert cup["overlap"] == pytest.approx(200 / 600)
    assert cup["size"] == pytest.approx(np.log(0.06))
    assert (cup["nearest by gap"], cup["nearest by reach"], book["nearest by gap"]) == (1, 1, 0)
    assert cup["reach"] == pytest.approx((0.55 - 0.45) / np.sqrt(0.06), abs=0.05)
    assert book["gap"] == pytest.approx(np.hypot(0.3, 0.3))
    assert book["overlap"] == 0


def test_evidence_does_not_depend_on_where_pixels_come_from() -> None:
    """A mask grid that is turned and scaled against the source, as for a camera mounted sideways."""
    upright = scene(HAND, CUP, BOOK)
    masks = np.stack([np.pad(np.full((5, 4), 0.8, np.float32), ((10, 5), (8, 8)))] * 3)
    turned = np.array([[0.0, 10, 0], [-10, 0, 200]])  # grid x runs up, grid y to the right
    boxes = [(2 * y0, 200 - 2 * x1, 2 * y1, 200 - 2 * x0) for _, _, (x0, y0, x1, y1) in (HAND, CUP, BOOK)]
    tracks = tuple(track(k, name, box, k) for (k, name, _), box in zip((HAND, CUP, BOOK), boxes, strict=True))
    found = look(tracks, Masks(probability=masks, to_source=turned))
    np.testing.assert_allclose(found.boxes, upright.boxes, atol=1e-6)


def test_the_tip_of_a_hand_is_its_uppermost_part_and_needs_no_mask() -> None:
    mask = np.zeros((20, 20), np.float32)
    mask[10:, 8:12], mask[8:10, 4:6] = 0.6, 0.6
    x, y = tip(mask)
    assert x < 0.45
    assert 0.4 < y < 0.56
    assert np.isfinite(tip(np.zeros((20, 20), np.float32))).all()


def test_hands_are_told_by_their_own_name() -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    assert is_hand(track(1, "left hand", box))
    assert is_hand(track(1, "Hands", box))
    assert not is_hand(track(1, "handle", box))
    own = (Hypothesis(label="cup", score=0.9),)
    assert not is_hand(track(1, "what the hand holds", box, query="what the hand holds", hypotheses=own))


@pytest.mark.parametrize("things", [(), (HAND,), (CUP,), (CUP, BOOK), (HAND, (9, "hand", (0.0, 0.0, 9.0, 9.0)))])
def test_nothing_is_said_without_a_hand_and_a_thing(things: tuple[tuple[int, str, Box], ...]) -> None:
    _, relations = relate(RelationBook.empty(), scene(*things), NEAR, SECOND)
    assert relations == ()


def test_a_relation_begins_lasts_and_ends_with_its_things() -> None:
    book, (first,) = relate(RelationBook.empty(), scene(HAND, CUP, BOOK), NEAR, SECOND)
    assert (first.subject_id, first.predicate, first.object_id, first.start_ns) == (1, "contacts", 2, SECOND)
    assert first.score > 0.9
    book, (second,) = relate(book, scene(HAND, CUP), NEAR, 2 * SECOND)
    assert second.start_ns == SECOND
    book, gone = relate(book, scene(HAND, BOOK), NEAR, 3 * SECOND)  # the cup is lost
    assert gone == ()
    _, (again,) = relate(book, scene(HAND, CUP), NEAR, 4 * SECOND)
    assert again.start_ns == 4 * SECOND


def test_the_surest_relation_comes_first() -> None:
    other = (5, "apple", (40.0, 20.0, 60.0, 48.0))
    _, relations = relate(RelationBook.empty(), scene(HAND, other, CUP), NEAR, SECOND)
    assert [r.object_id for r in relations] == [2, 5]
    assert relations[0].score > relations[1].score


def test_evidence_is_smoothed_by_time_not_by_hops() -> None:
    far = scene(HAND, (2, "cup", (40, 10, 60, 45)))
    scores = []
    for hops in (1, 10):
        book, _ = relate(RelationBook.empty(), scene(HAND, CUP), NEAR, SECOND)
        for k in range(hops):
            book, _ = relate(book, far, NEAR, SECOND + (k + 1) * SECOND // (2 * hops))
        scores.append(float(book.evidence[0, 2]))
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)
    assert scores[0] == pytest.approx(0.05 * (1 - np.exp(-0.5 / SMOOTHING_S)))


def test_a_score_between_the_thresholds_neither_begins_nor_ends() -> None:
    def gap(share: float) -> Sight:
        return scene(HAND, (2, "cup", (40, 10, 60, 50 - 100 * share)))

    between = gap(0.057)  # log-odds -0.7, a probability of 0.33
    book, relations = relate(RelationBook.empty(), between, NEAR, SECOND)
    assert relations == ()
    book, relations = relate(book, gap(0.0), NEAR, 20 * SECOND)
    assert len(relations) == 1
    book, relations = relate(book, between, NEAR, 40 * SECOND)
    assert [r.start_ns for r in relations] == [20 * SECOND]
    assert relations[0].score == pytest.approx(1 / (1 + np.exp(0.7)), rel=1e-3)
    _, relations = relate(book, gap(0.1), NEAR, 60 * SECOND)
    assert relations == ()


def test_the_book_never_grows_and_is_not_changed() -> None:
    hands = [(k, "hand", (float(k), 50.0, k + 10.0, 100.0)) for k in range(1, 11)]
    things = [(100 + k, "cup", (float(2 * k), 20.0, 2 * k + 30.0, 60.0)) for k in range(30)]
    before = RelationBook.empty()
    book, relations = relate(before, scene(*hands, *things), NEAR, SECOND)
    assert book.ids.shape == (ROOM, 2)
    assert len(relations) <= ROOM
    every = probability(contact_evidence(scene(*hands, *things)).evidence, NEAR)
    np.testing.assert_allclose(book.score, np.sort(every)[::-1][:ROOM])
    empty = RelationBook.empty()
    np.testing.assert_array_equal(before.ids, empty.ids)
    for _ in range(3):
        book, _ = relate(book, scene(*hands, *things), NEAR, book.stamp_ns + SECOND)
    assert book.evidence.shape == before.evidence.shape
