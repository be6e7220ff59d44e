from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.metrics_segmentation import Hits, edit_score, flicker, frame_accuracy, hits, runs

VOID = -1
sequences = st.lists(st.integers(-1, 3), min_size=1, max_size=40).map(lambda v: np.array(v, np.int64))


def seq(text):
    """`aab.` → labels; a dot is background."""
    return np.array([VOID if c == "." else ord(c) - ord("a") for c in text], np.int64)


def segments(text):
    return runs(seq(text), {VOID})


def test_runs_are_half_open_and_leave_background_out():
    assert [(r.label, r.start, r.end) for r in segments("..aab.a")] == [(0, 2, 4), (1, 4, 5), (0, 6, 7)]
    assert runs(np.zeros(0, np.int64)) == []


@pytest.mark.parametrize(
    ("predicted", "truth", "score"),
    [
        ("aabb", "abbb", 1.0),  # lengths do not count
        ("abab", "ab", 0.5),
        ("aa", "bb", 0.0),
        ("abc", "acb", 1 / 3),
        ("abc", "ac", 2 / 3),
        ("a.a", "aaa", 0.5),  # cut in two
        ("...", "a", 0.0),
        ("...", "...", 1.0),
    ],
)
def test_edit_score(predicted, truth, score):
    assert edit_score(segments(predicted), segments(truth)) == pytest.approx(score)


@pytest.mark.parametrize(
    ("predicted", "truth", "overlap", "right", "wrong", "missed"),
    [
        ("aaaabbbb", "aaaabbbb", 0.5, 2, 0, 0),
        ("aaaaaabb", "aaaabbbb", 0.5, 2, 0, 0),  # IoU 4/6 and 2/4
        ("aaaaaabb", "aaaabbbb", 0.6, 1, 1, 1),
        ("aa.aa", "aaaaa", 0.4, 1, 1, 0),  # one true segment is found once
        ("aabbaa", "aaaaaa", 0.1, 1, 2, 0),
        ("bbbb", "aaaa", 0.1, 0, 1, 1),
        ("....", "aaaa", 0.1, 0, 0, 1),
        ("aaaa", "....", 0.1, 0, 1, 0),
    ],
)
def test_hits(predicted, truth, overlap, right, wrong, missed):
    assert hits(segments(predicted), segments(truth), overlap) == Hits(right=right, wrong=wrong, missed=missed)


def test_f1_is_of_the_sums():
    total = Hits(right=1, wrong=1, missed=0) + Hits(right=1, wrong=0, missed=2)
    assert total.f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 2))
    assert Hits(wrong=3).f1 == 0


def test_accuracy_is_over_the_frames_with_an_action():
    assert frame_accuracy(seq("aabba"), seq("aaab."), {VOID}) == pytest.approx(3 / 4)
    assert frame_accuracy(seq("aabba"), seq("aaab."), ()) == pytest.approx(3 / 5)
    assert math.isnan(frame_accuracy(seq("aa"), seq(".."), {VOID}))


def test_flicker_is_beyond_the_changes_of_the_truth():
    assert flicker(seq("abab"), seq("aabb"), 60) == 2
    assert flicker(seq("aabb"), seq("a..b"), 60) == 0  # what lies between two actions is no change of its own
    assert flicker(seq("aaaa"), seq("a..a"), 60) == 0
    assert flicker(seq("aaaa"), seq("aabb"), 30) == -2


def distance(a, b):
    """Levenshtein's distance by its definition."""
    if not a or not b:
        return len(a) + len(b)
    return min(distance(a[1:], b) + 1, distance(a, b[1:]) + 1, distance(a[1:], b[1:]) + (a[0] != b[0]))


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), max_size=5), st.lists(st.integers(0, 2), max_size=5))
def test_edit_score_is_levenshtein(a, b):
    """Background between any two, so that equal neighbours stay apart."""
    first, second = (runs(np.array([x for v in s for x in (v, VOID)], np.int64), {VOID}) for s in (a, b))
    longest = max(len(a), len(b))
    assert edit_score(first, second) == pytest.approx(1 - distance(a, b) / longest if longest else 1.0)


@settings(deadline=None)
@given(sequences)
def test_the_truth_is_perfect(truth):
    found = runs(truth, {VOID})
    assert edit_score(found, found) == 1
    for overlap in (0.1, 0.25, 0.5, 1.0):
        assert hits(found, found, overlap) == Hits(right=len(found))
    if found:
        assert frame_accuracy(truth, truth, {VOID}) == 1


@settings(deadline=None)
@given(sequences, st.integers(0, 3), st.data())
def test_more_overlap_never_finds_more(truth, label, data):
    predicted = truth.copy()
    start = data.draw(st.integers(0, len(truth) - 1))
    predicted[start : data.draw(st.integers(start, len(truth)))] = label
    a, b = runs(predicted, {VOID}), runs(truth, {VOID})
    found = [hits(a, b, overlap).right for overlap in (0.1, 0.25, 0.5, 0.9)]
    assert found == sorted(found, reverse=True)
    assert 0 <= edit_score(a, b) <= 1
