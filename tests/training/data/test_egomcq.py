from __future__ import annotations

import copy
import json

import pytest

from henasy_stream.errors import UserError
from training.data.egomcq import INTER, INTRA, check_kinds, read_egomcq


def entry(video, start, text="#C C cuts bread"):
    return {
        "video_uid": video, "clip_start": start, "clip_end": str(float(start) + 1.5), "narration_time": 3.0,
        "clip_text": text, "tag_noun": "[1]", "tag_verb": "[2]",
    }  # fmt: skip


def question(kind, answer=2):
    videos = [f"v{i}" for i in range(5)] if kind == INTER else ["v0"] * 5
    return {
        "answer": answer,
        "types": kind,
        "query": entry("v2", 7),
        "choices": {str(i): entry(video, 7 + i) for i, video in enumerate(videos)},
    }


FILE = {"10": question(INTRA), "2": question(INTER, 4), "0": question(INTER)}


@pytest.fixture
def read(tmp_path):
    def write_and_read(content):
        (tmp_path / "egomcq.json").write_text(json.dumps(content))
        return read_egomcq(tmp_path / "egomcq.json")

    return write_and_read


def test_questions_in_the_order_of_their_numbers(read):
    questions = read(FILE)
    assert [(q.key, q.kind, q.answer) for q in questions] == [("0", INTER, 2), ("2", INTER, 4), ("10", INTRA, 2)]
    assert questions[0].query == "#C C cuts bread"
    assert [(c.video, c.start, c.end) for c in questions[0].choices] == [(f"v{i}", 7 + i, 8.5 + i) for i in range(5)]


def test_slightly_negative_starts_are_clamped(read):
    content = copy.deepcopy(FILE)
    content["0"]["choices"]["0"]["clip_start"] = "-0.25"
    assert read(content)[0].choices[0].start == 0


def test_the_meaning_of_the_types_is_checked_against_the_videos(read):
    assert check_kinds(read(FILE)) == {"inter": 0, "intra": 1}
    swapped = {key: {**q, "types": 3 - q["types"]} for key, q in FILE.items()}
    with pytest.raises(UserError, match=r"types seems swapped.*inter 100 %, intra 0 %"):
        read(swapped)


def test_a_file_with_one_type_only(read):
    assert check_kinds(read({"0": question(INTRA)})) == {"intra": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda q: q.update(types=3), "question 0, field types: 3, expected 1"),
        (lambda q: q.update(answer=5), "question 0, field answer: 5"),
        (lambda q: q.pop("query"), "question 0: no field query"),
        (lambda q: q["query"].update(clip_text=None), "question 0, query, field clip_text: None"),
        (lambda q: q["choices"].pop("3"), 'field choices: expected "0" to "4"'),
        (lambda q: q["choices"]["3"].pop("clip_end"), "question 0, choice 3: no field clip_end"),
        (lambda q: q["choices"]["3"].update(clip_start="x"), "choice 3, field clip_start: 'x' is not a number"),
        (lambda q: q["choices"]["3"].update(clip_start="nan"), "choice 3, field clip_start: 'nan' is not finite"),
        (lambda q: q["choices"]["3"].update(clip_end=2), "choice 3, field clip_end: 2 lies before the start, 10"),
        (lambda q: q["choices"]["3"].update(video_uid=7), "choice 3, field video_uid: 7 is not text"),
        (lambda q: q["choices"].update({"3": None}), "choice 3: no field clip_start"),
    ],
)
def test_a_bad_question_is_named(change, reason, read, tmp_path):
    content = copy.deepcopy(FILE)
    change(content["0"])
    with pytest.raises(UserError, match=reason) as error:
        read(content)
    assert str(tmp_path / "egomcq.json") in str(error.value)


@pytest.mark.parametrize("content", [[], {}, {"a": question(INTER)}])
def test_another_file_is_an_error(content, read):
    with pytest.raises(UserError, match=r"egomcq\.json"):
        read(content)
