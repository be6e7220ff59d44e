"""Texts that name an action: told from things, scored, and the tracks that act."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from henasy_stream.config import StreamConfig
from henasy_stream.stream.actions import acting, names_action, stems, verb_stems
from henasy_stream.stream.engine import Engine
from tests.stream.fake import FakeBackend, Square, film, text_vector

VERBS = verb_stems(["pick up", "cut", "wipe", "tap", "wash", "push", "pull", "shake", "brush", "#C C carries {}"])
LABELS = ("cup", "brush", "hand")


@pytest.mark.parametrize("forms", ["pick picks picking", "cut cuts cutting", "wipe wipes wiping", "tap taps tapping",
                                   "wash washes washing", "carry carries carrying", "push pushes pushing",
                                   "shake shakes shaking", "bring brings bringing", "pass passes passing"])  # fmt: skip
def test_the_forms_of_a_verb_have_one_stem(forms):
    assert len(set(stems(forms))) == 1


@pytest.mark.parametrize(
    "text",
    ["picks up", "picking up the cup", "cuts the bread", "Wash a cup", "someone is cutting bread",
     "a hand taps the cup", "the person picks up a brush", "brush the table", "she carries a box"],
)  # fmt: skip
def test_actions(text):
    assert names_action(text, VERBS, LABELS)


@pytest.mark.parametrize(
    "text",
    ["cup", "brush", "a brush", "the cutting board", "something to cut with", "the metal spoon", "zebra", "", "...",
     "a tool for cutting", "my blue cup", "нож 🔪"],
)  # fmt: skip
def test_things(text):
    assert not names_action(text, VERBS, LABELS)


def test_those_act_whose_weight_is_not_far_below_the_largest():
    assert acting(np.array([0.1, 0.5, 0.02, 0.38], np.float32)).tolist() == [1, 3]
    assert acting(np.zeros(0, np.float32)).tolist() == []


def answers_at(queries, seconds, *, squares):
    engine = Engine(FakeBackend(), StreamConfig(), queries=queries)
    state = engine.initial_state()
    for frame in film(squares, seconds):
        state, last = engine.step(state, frame)
    return last


SQUARES = [Square("cup", 40, 40, vx=40), Square("plate", 40, 160)]


def test_what_happens_is_present_with_the_track_that_acts_and_the_rest_is_absent():
    queries = ["moves right the cup", "moves left the cup", "moves right", "someone moves left"]
    last = answers_at(queries, 2.0, squares=SQUARES)
    cup = next(t for t in last.tracks if t.label == "cup")
    assert {a.kind for a in last.queries} == {"action"}
    assert [(a.present, a.track_ids) for a in last.queries] == [
        (True, (cup.id,)),
        (False, ()),
        (True, (cup.id,)),
        (False, ()),
    ]
    assert 0.5 < last.queries[0].track_scores[0] <= 1
    assert all(t.query is None for t in last.tracks)  # an action is no name of a thing


def test_an_action_with_nobody_in_sight():
    (found,) = answers_at(["holds"], 1.0, squares=[]).queries
    assert (found.kind, found.track_ids, found.track_scores) == ("action", (), ())


def test_weights_that_know_a_few_words_only_look_for_no_others():
    backend = FakeBackend()
    backend.spec = replace(backend.spec, synthetic=True)
    squares = [Square("cup", 40, 40)]
    for texts, present in ((["the red cup"], True), (["the"], False), (["zebra"], False)):
        engine = Engine(backend, StreamConfig(), queries=texts)
        engine.use_queries(replace(engine.prepare_queries(texts), embeddings=text_vector("cup")[None]))
        state = engine.initial_state()
        for frame in film(squares, 1.0):
            state, last = engine.step(state, frame)
        assert last.queries[0].present == present
