from __future__ import annotations

import json
import math

import pytest

from henasy_stream.errors import UserError
from training.data.ego4d import ClipSpan, Moment, Narration, Query, read_moments, read_narrations, read_nlq


@pytest.fixture
def write(tmp_path):
    def to(content):
        path = tmp_path / "file.json"
        path.write_text(json.dumps(content))
        return path

    return to


def test_two_passes_either_of_which_may_be_absent(write):
    def one(second, text):
        return {"timestamp_sec": second, "timestamp_frame": 45, "narration_text": text}

    content = {
        "u": {
            "narration_pass_1": {"narrations": [one(1.5, "#C C cuts "), one(2, None)], "summaries": []},
            "narration_pass_2": {"narrations": [one(None, "#C C looks")]},
        },
        "w": {"narration_pass_2": {"narrations": [one(0, "#O man walks")]}, "status": "complete"},
        "x": {"status": "redacted"},
    }
    narrations, skips = read_narrations(write(content))
    assert narrations == (
        Narration(video="u", time=1.5, text="#C C cuts", source="narration_pass_1"),
        Narration(video="w", time=0.0, text="#O man walks", source="narration_pass_2"),
    )
    assert skips.counts == {"narration without text": 1, "narration without time": 1}
    assert skips.first["narration without time"] == "u, narration_pass_2, 0"


def test_the_newer_file_of_narrations(write):
    content = {"videos": {"u": {"narrations": [{"time": 3, "text": "#C C cuts", "_annotation_uid": "a1"}]}, "w": {}}}
    narrations, skips = read_narrations(write(content))
    assert narrations == (Narration(video="u", time=3.0, text="#C C cuts", source="a1"),)
    assert not skips.lines()


def nlq(queries, **clip):
    clip = {"clip_uid": "c", "video_start_sec": 10.0, "video_end_sec": 490, **clip}
    clip["annotations"] = [{"annotation_uid": "a", "language_queries": queries}]
    return {"version": "1", "videos": [{"video_uid": "u", "clips": [clip]}]}


def test_queries_with_and_without_text_and_answers(write):
    spans, queries, skips = read_nlq(
        write(
            nlq(
                [
                    {"query": "Where is the cup? ", "clip_start_sec": 1.0, "clip_end_sec": 2.5, "template": "t"},
                    {"query": None, "clip_start_sec": 1.0, "clip_end_sec": 2.5},
                    {"clip_start_sec": 1.0},
                    {"query": "What did I pick?"},
                ]
            )
        )
    )
    assert spans == (ClipSpan(clip="c", video="u", start=10.0, end=490.0),)
    assert queries[0] == Query(clip="c", text="Where is the cup?", start=1.0, end=2.5)
    assert queries[1].text == "What did I pick?"
    assert math.isnan(queries[1].start)
    assert skips.lines() == ["file.json: 2 × query without text (first: video u, clip c, query 1)"]


def test_moments(write):
    content = nlq([])
    content["videos"][0]["clips"][0]["annotations"] = [
        {
            "annotator_uid": "x",
            "labels": [
                {"label": "wash_dishes", "start_time": 2.0, "end_time": 4, "primary": True},
                {"label": "", "start_time": 2.0, "end_time": 4},
                {"label": "cut", "start_time": 4.0, "end_time": 4.0},
            ],
        }
    ]
    spans, moments, skips = read_moments(write(content))
    assert len(spans) == 1
    assert moments == (Moment(clip="c", label="wash_dishes", start=2.0, end=4.0),)
    assert skips.counts == {"moment without label": 1, "end not after start": 1}


def test_clips_without_annotations_are_still_clips(write):
    content = nlq([])
    content["videos"][0]["clips"][0].pop("annotations")
    content["videos"].append({"video_uid": "w", "clips": None})
    spans, moments, _ = read_moments(write(content))
    assert (len(spans), moments) == (1, ())
    assert len(read_nlq(write(content))[0]) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], "expected an object, found list"),
        ({"u": []}, "no field videos"),
        ({"videos": [7]}, "field videos: expected a list of objects"),
        (nlq([], clip_uid=None), "no video_uid or no clip_uid"),
        (nlq([], video_end_sec=5), "video_start_sec 10 and video_end_sec 5 are no stretch"),
        (nlq([], video_start_sec="10"), "video_start_sec nan"),
    ],
)
def test_other_files_are_one_clear_error(content, reason, write):
    for read in (read_nlq, read_moments):
        with pytest.raises(UserError, match=reason) as error:
            read(write(content))
        assert "file.json" in str(error.value)


@pytest.mark.parametrize("content", [[], {"u": []}, {"u": {"narration_pass_1": {"narrations": 7}}}])
def test_other_files_of_narrations(content, write):
    with pytest.raises(UserError, match=r"file\.json"):
        read_narrations(write(content))
