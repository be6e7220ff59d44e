from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from henasy_stream.stream.captions import CaptionBook, Naming, PhraseBank, find_mentions, named_tracks
from henasy_stream.stream.filling import Filling
from henasy_stream.stream.text_cache import TextCache
from henasy_stream.types import Caption, Hypothesis, Track
from tests.stream.fake import SECOND, FakeBackend

TEXTS = ("picks up the cup", "washes dishes", "waits")
HOP = SECOND // 4


def evidence(*probabilities):
    return np.log(np.array(probabilities, np.float32))


A, B, C = evidence(0.9, 0.05, 0.05), evidence(0.05, 0.9, 0.05), evidence(0.05, 0.05, 0.9)


def play(hops, hold_s=0.5):
    book = CaptionBook.empty(3)
    captions, closed = [], list[Caption]()
    for number, probabilities in enumerate(hops):
        stamp = SECOND + number * HOP
        book, ended = book.update(probabilities, TEXTS, window_start_ns=stamp - SECOND, stamp_ns=stamp, hold_s=hold_s)
        closed += ended
        captions.append(book.caption(TEXTS))
    return book, captions, closed


def test_one_action_is_one_segment_closed_once():
    book, captions, closed = play([A] * 6 + [B] * 6)
    assert [c.segment_id for c in captions] == sorted(c.segment_id for c in captions)
    assert {c.segment_id for c in captions} == {1, 2}
    assert not any(c.final for c in captions)
    assert [(c.segment_id, c.text, c.final) for c in closed] == [(1, TEXTS[0], True)]
    assert closed[0].start_ns == 0
    second = captions[-1]
    assert (second.text, second.start_ns, second.end_ns) == (TEXTS[1], closed[0].end_ns, SECOND + 11 * HOP)
    _, (last,) = book.close(TEXTS)
    assert last.final
    assert (last.segment_id, last.end_ns) == (2, second.end_ns)


def test_a_single_contrary_window_opens_no_segment():
    near = evidence(0.4, 0.5, 0.1)
    _, captions, closed = play([A] * 4 + [near] + [A] * 4)
    assert {c.text for c in captions} == {TEXTS[0]}
    assert closed == []


def test_a_narrow_lead_must_hold():
    narrow = evidence(0.40, 0.55, 0.05)
    _, captions, closed = play([A] * 4 + [narrow] * 10)
    changed = next(i for i, c in enumerate(captions) if c.segment_id == 2)
    leading = (closed[0].end_ns - SECOND // 2) // HOP  # the window of that middle
    assert (changed - leading) * HOP >= 0.5 * SECOND
    assert captions[changed].start_ns == closed[0].end_ns


def test_a_clear_lead_opens_at_once():
    _, captions, _ = play([A] * 4 + [evidence(1e-4, 0.999, 1e-4)] * 2, hold_s=0.3)
    assert captions[4].text == TEXTS[1] or captions[5].text == TEXTS[1]


def test_without_hold_every_window_speaks_for_itself():
    _, captions, closed = play([A, B, C, A], hold_s=0.0)
    assert [c.text for c in captions] == [TEXTS[0], TEXTS[1], TEXTS[2], TEXTS[0]]
    assert len(closed) == 3


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=1, max_size=60), st.floats(0, 2))
def test_segments_are_in_order_and_touch(hops, hold_s):
    book, captions, closed = play([np.log(np.array(p, np.float32) / np.sum(p)) for p in hops], hold_s)
    segments = [*closed, *book.close(TEXTS)[1]]
    assert [c.segment_id for c in segments] == list(range(1, len(segments) + 1))
    assert all(c.final for c in segments)
    for old, new in pairwise(segments):
        assert old.end_ns == new.start_ns
        assert old.text != new.text
    assert all(c.start_ns <= c.end_ns for c in segments)
    for caption in captions:
        assert 0 <= caption.score <= 1
        assert caption.text not in [a.text for a in caption.alternatives]
        assert caption.end_ns <= SECOND + (len(hops) - 1) * HOP
    for old, new in pairwise(captions):  # a segment's end never moves back
        assert new.segment_id > old.segment_id or new.end_ns >= old.end_ns


class Axes(FakeBackend):
    """Each new text is the next axis of the space."""

    def __init__(self):
        super().__init__()
        self.spec = replace(self.spec, embed_dim=3)
        self.known: dict[str, int] = {}

    def embed_texts(self, texts):
        return np.stack([np.eye(3, dtype=np.float32)[self.known.setdefault(t, len(self.known)) % 3] for t in texts])


def bank(texts=TEXTS, labels=("cup", "dish", "cutting board")):
    backend = Axes()
    filling = Filling(backend, TextCache(backend), texts)
    filling.run()
    return PhraseBank(filling=filling, mentions=find_mentions(texts, labels))


def test_phrases_whose_nouns_are_seen_gain():
    video = np.array([0.5, 0.5, 0.5], np.float32)
    plain = np.exp(bank().log_probabilities(video, 0.05, None))
    np.testing.assert_allclose(plain, 1 / 3, rtol=1e-5)
    cup = np.exp(bank().log_probabilities(video, 0.05, np.array([1, 0, 0], np.float32)))
    np.testing.assert_allclose(cup, np.array([1, 0.25, 1]) / 2.25, rtol=1e-5)  # "waits" names nothing
    half = np.exp(bank().log_probabilities(video, 0.05, np.array([0.0, 0.5, 0], np.float32)))
    np.testing.assert_allclose(half, np.array([0.25, 0.625, 1]) / 1.875, rtol=1e-5)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(0, 5))
def test_weights_are_those_of_the_whole_matrix(seed, texts, labels):
    rng = np.random.default_rng(seed)
    mentions, grounded = rng.random((texts, labels)) < 0.3, rng.random(labels).astype(np.float32)
    named = mentions.sum(1)
    seen = (mentions @ grounded) / np.maximum(named, 1)
    expected = np.where(named > 0, 0.25 + 0.75 * seen, 1.0)
    np.testing.assert_allclose(np.exp(Naming.of(mentions).weights(grounded)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("picks up the cup", ["cup"]),
        ("washes two CUPS and a dish", ["cup", "dish"]),
        ("washes dishes.", ["dish"]),
        ("wipes the cutting boards", ["cutting board"]),
        ("opens a cupboard", []),
        ("cuts with knives", ["knife"]),
        ("trims berries with scissors", ["scissors", "berry"]),
        ("waits", []),
        ("wipes the chopping board", ["board:chopping"]),
        ("lifts the lid of a pan", []),
        ("lifts a pan lid", ["lid, pan"]),
    ],
)
def test_nouns_are_found_as_whole_words(text, named):
    labels = ("cup", "dish", "cutting board", "knife", "scissors", "berry", "board:chopping", "lid, pan")
    assert [labels[i] for i in np.nonzero(find_mentions([text], labels)[0])[0]] == named


def track(identity, label, state="tracked", query=None):
    return Track(
        id=identity,
        label=query or label,
        label_index=0,
        label_score=1.0,
        score=1.0,
        state=state,
        box_xyxy=(0, 0, 1, 1),
        mask_index=None,
        first_seen_ns=0,
        last_seen_ns=0,
        hypotheses=(Hypothesis(label=label, score=1.0),),
        query=query,
    )


def test_a_caption_names_its_tracks_and_the_hands():
    labels = ("cup", "knife", "hand")
    tracks = [
        track(1, "cup"),
        track(2, "knife"),
        track(3, "hand"),
        track(4, "cup", "lost"),
        track(5, "knife", query="red cup"),
        track(6, "cup", query="thing"),
    ]
    text = "picks up the red cup"
    assert named_tracks(find_mentions([text], labels)[0], text, labels, tracks) == (1, 3, 5, 6)
