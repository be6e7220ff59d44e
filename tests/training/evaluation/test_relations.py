"""Truth, scores and fits of relations: against planted faults, and the commands on short streams."""

from __future__ import annotations

import dataclasses
import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from henasy_stream.loading import load
from henasy_stream.sources._world.scene import Snapshot
from henasy_stream.sources.world import World
from henasy_stream.stream import relation_weights
from henasy_stream.stream.relation_evidence import CONTACT_EVIDENCE, Pairs, Sight
from henasy_stream.stream.relation_weights import Weights
from henasy_stream.stream.relations import RelationBook
from henasy_stream.types import Relation
from training.evaluation.command import evaluate_main
from training.evaluation.relation_fit import ABLATION, fit, logistic, replay
from training.evaluation.relation_recording import RelationHop
from training.evaluation.relation_truth import LEAST_SHARED, SILHOUETTE, true_relations
from training.evaluation.relation_weights import fit_main, rewritten
from training.evaluation.relations import (
    ANSWERS,
    average_precision,
    nearest,
    ours,
    overlapping,
    score_answer,
    streams,
)

SIZE = (SILHOUETTE, SILHOUETTE)
FAR, NEAR = (0.0, 0.0, 0.1, 0.1), (0.45, 0.3, 0.55, 0.6)


def hop(*, published: tuple[tuple[int, int], ...] = (), truth: tuple[tuple[int, int], ...] = ((9, 0),)) -> RelationHop:
    """A hand (track 1, thing 9) over a near thing (track 2, thing 0), and a far one (track 3, thing 1)."""
    sight = Sight(
        ids=np.array([1, 2, 3]),
        hand=np.array([True, False, False]),
        tips=np.full((3, 2), 0.5),
        boxes=np.array([(0.4, 0.5, 0.6, 1.0), NEAR, FAR]),
    )
    book = RelationBook.empty()
    for row, (subject, thing, score) in enumerate([(1, 2, 0.9), (1, 3, 0.2)]):
        book.ids[row], book.score[row] = (subject, thing), score
    none = Pairs(ids=np.zeros((0, 2), np.int64), evidence=np.zeros((0, 6)))
    return RelationHop(
        stamp_ns=0,
        truth={"contacts": frozenset(truth), "on": frozenset()},
        owner={1: 9, 2: 0, 3: 1},
        sight=sight,
        evidence=none,
        book=book,
        published=tuple(
            Relation(subject_id=a, predicate="contacts", object_id=b, score=0.9, start_ns=0) for a, b in published
        ),
    )


def test_contacts_of_the_world_are_those_of_the_hand_that_acts() -> None:
    world = World(3, "validation")
    held = 0
    for action in world.actions_until(20.0):
        true = true_relations(world, (action.start_s + action.end_s) / 2, (360, 360))
        if action.verb == 7 or not np.isfinite(true.truth.boxes[true.truth.target]).all():
            continue  # a hand that taps leaves the thing now and then
        ((hand, thing),) = true.pairs["contacts"]
        assert true.truth.is_hand[hand]
        assert thing == true.truth.target
        held += 1
    assert held > 2


def test_what_lies_on_another_is_what_the_picture_shows_where_both_are() -> None:
    found = 0
    for seed in (501, 502, 503):
        world = World(seed, "validation")
        for t in range(0, 40, 2):
            true = true_relations(world, float(t), SIZE)
            snapshot, shown = world._snapshot(float(t)), world.render(float(t), SIZE)[1]
            alone = {
                thing.index: world._painter.label(Snapshot(snapshot.view, snapshot.gain, (thing,), ()), SIZE) > 0
                for thing in snapshot.objects
            }
            for upper, lower in true.pairs["on"]:
                both = alone[upper] & alone[lower]
                assert both.sum() >= LEAST_SHARED * min(alone[upper].sum(), alone[lower].sum())
                assert not (shown[both] == lower + 1).any()
                assert snapshot.held not in (upper, lower)
                found += 1
    assert found > 10


def test_scores_of_what_is_said_and_of_what_could_not_be_seen() -> None:
    right = score_answer([hop(published=((1, 2),))], ours, "contacts")
    assert (right.precision, right.recall, right.ap, right.said) == (1, 1, 1, 1)
    assert right.mean_score == pytest.approx(0.9)
    wrong = score_answer([hop(published=((1, 3),))], ours, "contacts")
    assert (wrong.precision, wrong.recall, wrong.ap) == (0, 0, 1)
    unseen = score_answer([hop(published=((1, 2),), truth=((9, 0), (8, 1)))], ours, "contacts")
    assert (unseen.recall, unseen.recall_tracked, unseen.true) == (0.5, 1, 2)
    assert unseen.ap == pytest.approx(0.5)
    assert score_answer([hop()], ours, "on").said == 0


def test_a_track_on_the_wrong_thing_is_no_answer() -> None:
    mistaken = dataclasses.replace(hop(published=((1, 2),)), owner={1: 9, 2: 1})
    assert score_answer([mistaken], ours, "contacts").precision == 0


def test_simple_answers_take_the_nearest_and_all_that_overlap() -> None:
    assert [pair for pair, _, says in nearest(hop(), "contacts") if says] == [(1, 2)]
    assert [pair for pair, _, says in overlapping(hop(), "contacts") if says] == [(1, 2)]
    assert [pair for pair, _, says in nearest(hop(), "on") if says] == [(2, 3), (3, 2)]
    assert not [pair for pair, _, says in overlapping(hop(), "on") if says]


def test_average_precision_counts_what_no_candidate_is_and_ties_against_us() -> None:
    scores, right = np.array([0.9, 0.8, 0.1]), np.array([True, False, True])
    assert average_precision(scores, right, 2) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(scores, right, 4) == pytest.approx((1 + 2 / 3) / 4)
    assert average_precision(np.zeros(2), np.array([True, False]), 1) == pytest.approx(0.5)
    assert average_precision(np.zeros(0), np.zeros(0, bool), 0) == 0


def test_a_fit_finds_the_odds_that_made_the_data() -> None:
    rng = np.random.default_rng(5)
    evidence = rng.normal(size=(20000, 2)) * [1.0, 10.0] + [0.0, 5.0]
    odds = 2.0 * evidence[:, 0] - 0.3 * evidence[:, 1] + 1.0
    found = logistic(evidence, rng.random(20000) < 1 / (1 + np.exp(-odds)))
    np.testing.assert_allclose((*found.evidence, found.offset), (2.0, -0.3, 1.0), rtol=0.08)


def test_written_weights_are_read_back(tmp_path: Path) -> None:
    text = Path(relation_weights.__file__).read_text("utf-8")
    one = Weights(evidence=(1.5, -2.0), offset=0.25)
    other = Weights(evidence=(7.0, 0.5), offset=0.0)
    path = tmp_path / "written.py"
    path.write_text(rewritten(text, one, other), "utf-8")
    names = runpy.run_path(str(path))
    assert repr(names["OWN"]) == repr(one)
    assert repr(names["OUTSIDE"]) == repr(other)


def test_the_packages_weights_fit_its_evidence() -> None:
    for weights in (relation_weights.OWN, relation_weights.OUTSIDE):
        assert len(weights.evidence) == len(CONTACT_EVIDENCE)


@pytest.mark.slow
def test_kept_evidence_gives_what_the_node_said() -> None:
    hops = streams(load("demo"), [501, 502], 8, split="validation")
    books = replay(hops, range(len(CONTACT_EVIDENCE)), relation_weights.OWN)
    for seen, book in zip(hops, books, strict=True):
        np.testing.assert_array_equal(book.ids, seen.book.ids)
        np.testing.assert_allclose(book.score, seen.book.score)
        np.testing.assert_array_equal(book.start_ns, seen.book.start_ns)
    assert hops[0].evidence.evidence.shape[1] == len(ABLATION["all"])
    assert len(fit(hops, ABLATION["attention"]).evidence) == 2
    extras = np.concatenate([seen.evidence.evidence[:, len(CONTACT_EVIDENCE) :] for seen in hops])
    assert extras.std(0).min() > 0


@pytest.mark.slow
def test_commands_measure_and_fit_on_short_streams(tmp_path: Path) -> None:
    argv = ["relations", "--streams", "1", "--seconds", "8", "--json", str(tmp_path / "r.json")]
    assert evaluate_main(argv) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    assert {f"contacts, {kind}: {name}" for kind in ("plain", "hard", "true boxes") for name in ANSWERS} <= set(found)
    assert "on, plain: nearest" in found
    assert found["contacts, true boxes: ours"]["recall"] > 0.5
    assert evaluate_main([*argv, "--ablation", "1"]) == 0
    assert "contacts told from attention" in json.loads((tmp_path / "r.json").read_text())
    assert fit_main(["--streams", "1", "--seconds", "8", "--out", str(tmp_path / "weights.py")]) == 0
    assert "OUTSIDE = Weights(" in (tmp_path / "weights.py").read_text()
