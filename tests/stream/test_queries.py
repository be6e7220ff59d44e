from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from henasy_stream.stream.answers import absent, answers, frame_answers
from henasy_stream.stream.queries import KEEP, QueryBank, answer, clean_queries
from henasy_stream.stream.tracks import FREE, LOST, TRACKED, TrackBook
from henasy_stream.types import Calibration, QueryCalibration
from tests.stream.fake import BACKGROUND, NOUNS, WIDTH, text_vector

START = 0.5  # without a calibration
RIVALS = np.stack([text_vector(text) for text in (*NOUNS, "hand", BACKGROUND)])


def bank(*texts):
    return QueryBank(texts=texts, embeddings=np.stack([text_vector(t) for t in texts]), rivals=RIVALS, temperature=0.05)


def book_of(*embeddings, stage=TRACKED):
    book = TrackBook.empty(num_entities=2, num_frames=2, grid=2, labels=len(NOUNS), width=WIDTH)
    for row, embedding in enumerate(embeddings):
        book.stage[row] = stage
        book.embedding[row] = embedding
    return book


def between(text, other, share):
    """A unit vector in which `share` of the squared length speaks for `text`."""
    return np.sqrt(share) * text_vector(text) + np.sqrt(1 - share) * text_vector(other)


def test_scores_are_probabilities_against_rivals_that_mean_something_else():
    scores = bank("cup", "zebra").scores(np.stack([text_vector("cup"), text_vector("knife"), text_vector(BACKGROUND)]))
    assert scores[0, 0] > 0.99  # the noun "cup" is no rival of the query "cup"
    assert (scores[1:] < 0.01).all()
    assert scores[0, 1] < 0.01


def test_every_query_has_one_track_and_every_track_one_query():
    cups = book_of(text_vector("cup"), between("cup", "knife", 0.8))
    answered = answer(cups, bank("cup", "the cup"))
    assert sorted(q for q in answered.queries if q) == ["cup", "the cup"]
    alone = answer(book_of(text_vector("cup")), bank("cup", "the cup"))
    assert sum(q is not None for q in alone.queries) == 1


def test_an_answer_ends_later_than_it_begins():
    query = bank("cup")
    shares = np.linspace(0.3, 0.7, 81)
    scores = np.array([query.scores(between("cup", "knife", s)[None])[0, 0] for s in shares])
    doubtful = float(shares[np.argmin(np.abs(scores - (START * (1 + KEEP)) / 2))])
    book = book_of(between("cup", "knife", doubtful))
    assert answer(book, query).queries[0] is None
    bound = replace(book, queries=("cup", *book.queries[1:]))
    assert answer(bound, query).queries[0] == "cup"
    assert answer(bound, query).query_score[0] == pytest.approx((START * (1 + KEEP)) / 2, abs=0.05)
    weak = book_of(between("cup", "knife", 0.3))
    assert answer(replace(weak, queries=bound.queries), query).queries[0] is None


def test_a_lost_track_keeps_its_query_until_a_visible_one_answers():
    book = book_of(text_vector("cup"), stage=LOST)
    book = replace(book, queries=("cup", *book.queries[1:]))
    assert answer(book, bank("cup")).queries[0] == "cup"
    book.stage[1], book.embedding[1] = TRACKED, text_vector("cup")
    assert answer(book, bank("cup")).queries[:2] == (None, "cup")
    book.stage[:2] = FREE
    assert set(answer(book, bank("cup")).queries) == {None}


def test_queries_are_cleaned():
    assert clean_queries([" cup", "", "нож 🔪", "cup ", "  "]) == ("cup", "нож 🔪")


class TestAnswers:
    def test_each_query_has_one_in_order_and_absent_is_one(self):
        book = book_of(text_vector("cup"), text_vector("knife"))
        book.ids[:2] = (7, 9)
        query = bank("zebra", "knife", "cup")
        found = answers(answer(book, query), query, text_vector("holds"))
        assert [(a.text, a.present, a.track_ids) for a in found] == [
            ("zebra", False, ()),
            ("knife", True, (9,)),
            ("cup", True, (7,)),
        ]
        assert found[0].score < 0.01
        assert found[1].score == found[1].track_scores[0] > 0.99
        assert not any(a.calibrated for a in found)

    def test_the_track_with_the_name_comes_first_and_others_that_fit_follow(self):
        book = book_of(between("cup", "knife", 0.9), text_vector("cup"))
        book.ids[:2] = (7, 9)
        book = replace(book, queries=("cup", *book.queries[1:]))
        query = bank("cup")
        (found,) = answers(answer(book, query), query, text_vector("holds"))
        assert found.track_ids == (7, 9)
        assert found.score == max(found.track_scores) == found.track_scores[1]

    def test_a_lost_track_is_absent_although_it_keeps_its_name(self):
        book = replace(book_of(text_vector("cup"), stage=LOST), queries=("cup",) + (None,) * 7)
        query = bank("cup")
        named = answer(book, query)
        assert named.queries[0] == "cup"
        (found,) = answers(named, query, text_vector("cup"))
        assert (found.present, found.track_ids) == (False, ())
        assert found.score < 0.01

    def test_scores_follow_the_calibration_of_the_weights(self):
        book = book_of(between("cup", "knife", 0.5))
        plain = bank("cup")
        logit = float(plain.logits(book.embedding[:1])[0, 0])
        strict = replace(plain, calibration=QueryCalibration(entity=Calibration(slope=2, offset=-1, threshold=0.9)))
        (found,) = answers(answer(book, strict), strict, text_vector("holds"))
        assert found.score == pytest.approx(1 / (1 + np.exp(1 - 2 * logit)), abs=1e-5)
        assert (found.calibrated, found.present) == (True, False)
        lenient = replace(strict, calibration=QueryCalibration(entity=Calibration(slope=2, offset=-1, threshold=0.1)))
        (found,) = answers(answer(book, lenient), lenient, text_vector("holds"))
        assert found.present

    def test_for_the_whole_frame_and_before_anything_was_seen(self):
        query = bank("cup", "zebra")
        found = frame_answers(query, text_vector("cup"), RIVALS)
        assert [(a.present, a.track_ids) for a in found] == [(True, ()), (False, ())]
        assert [(a.text, a.present, a.score) for a in absent(query)] == [("cup", False, 0.0), ("zebra", False, 0.0)]
