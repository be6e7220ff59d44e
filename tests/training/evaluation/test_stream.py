"""The stream scorer against records whose quality is known, because they are written from the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from henasy_stream.errors import UserError
from henasy_stream.sources.world import HAND, NOUNS, VERBS, phrase, phrases, world_from_uri
from training.evaluation.command import evaluate_main
from training.evaluation.stream import box_iou, score_stream

URI = "world?seed=3&size=320x180"
Change = Callable[[dict[str, Any]], dict[str, Any]]


def write_record(path: Path, *, uri: str = URI, tracks: Change = dict, caption: Change = dict, hops: int = 40) -> Path:
    """What a node that knows the truth would record, each message passed through a change."""
    view = world_from_uri(uri)
    lines = []
    for hop in range(hops):
        stamp = round((1.5 + 0.5 * hop) * 1e9)
        common = {"stamp_ns": stamp, "window_start_ns": stamp - 1_500_000_000, "window_end_ns": stamp, "source": uri}
        truth = view.truth(stamp)
        seen = [
            {
                "id": o.track, "state": "tracked", "query": None, "score": 1.0, "label_score": 1.0,
                "label": HAND if hand else NOUNS[o.noun_index], "box_xyxy": [float(v) for v in box],
            }
            for o, hand, box in zip(truth.objects, truth.is_hand, truth.boxes, strict=True)
            if np.isfinite(box).all()
        ]  # fmt: skip
        lines.append(tracks({"topic": "henasy/1/tracks", **common, "tracks": seen}))
        middle = view.truth(stamp - 750_000_000)
        if not middle.in_transition:
            text = phrase(middle.verb, middle.noun)
            lines.append(caption({"topic": "henasy/1/caption", **common, "text": text, "final": False}))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_truth_itself_scores_full_marks(tmp_path: Path) -> None:
    scores = score_stream(write_record(tmp_path / "r.jsonl"))
    assert scores.narrated_iou == pytest.approx(1)
    assert scores.object_recall == scores.named_recall == scores.precision == 1
    assert scores.caption_both == 1
    assert scores.hops > 20


def test_sideways_camera_is_scored_in_its_own_pixels(tmp_path: Path) -> None:
    scores = score_stream(write_record(tmp_path / "r.jsonl", uri=URI + "&rotate=90"))
    assert scores.narrated_iou == pytest.approx(1)


def test_boxes_elsewhere_find_nothing(tmp_path: Path) -> None:
    def corner(message: dict[str, Any]) -> dict[str, Any]:
        return message | {"tracks": [t | {"box_xyxy": [0, 0, 2, 2]} for t in message["tracks"]]}

    scores = score_stream(write_record(tmp_path / "r.jsonl", tracks=corner))
    assert scores.narrated_iou == scores.object_recall == scores.precision == 0
    assert scores.caption_both == 1


def test_wrong_names_keep_recall_and_lose_grounding(tmp_path: Path) -> None:
    def rename(message: dict[str, Any]) -> dict[str, Any]:
        return message | {"tracks": [t | {"label": "unicorn"} for t in message["tracks"]]}

    scores = score_stream(write_record(tmp_path / "r.jsonl", tracks=rename))
    assert scores.object_recall == 1
    assert scores.named_recall == scores.narrated_iou == 0


def test_lost_tracks_and_answers_to_queries_do_not_count(tmp_path: Path) -> None:
    def lose(message: dict[str, Any]) -> dict[str, Any]:
        tracks = [t | ({"state": "lost"} if i % 2 else {"query": "cup"}) for i, t in enumerate(message["tracks"])]
        return message | {"tracks": tracks}

    assert score_stream(write_record(tmp_path / "r.jsonl", tracks=lose)).object_recall == 0


def other_verb(message: dict[str, Any]) -> dict[str, Any]:
    pair = phrases().index(message["text"])
    return message | {"text": phrase((pair // len(NOUNS) + 1) % len(VERBS), pair % len(NOUNS))}


def test_wrong_verb_spoils_the_pair_only(tmp_path: Path) -> None:
    scores = score_stream(write_record(tmp_path / "r.jsonl", caption=other_verb))
    assert scores.caption_noun == 1
    assert scores.caption_verb == scores.caption_both == 0


def test_record_cut_off_in_its_last_line_is_still_scored(tmp_path: Path) -> None:
    path = write_record(tmp_path / "r.jsonl")
    path.write_text(path.read_text()[:-30])
    assert score_stream(path).caption_both == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no window"),
        ("{}\n{}\n", "line 1: not a message"),
        ("not json\n{}\n", "line 1: not JSON"),
        ('{"topic": "henasy/1/tracks", "source": "kitchen.mp4", "stamp_ns": 0, "tracks": []}\n', "kitchen.mp4"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=said) as error:
        score_stream(path)
    assert "\n" not in str(error.value)


def test_missing_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl"):
        score_stream(tmp_path / "none.jsonl")


def test_box_iou() -> None:
    assert box_iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert box_iou((0, 0, 1, 1), (1, 0, 2, 1)) == 0


def test_command_scores_several_records_and_their_mean(tmp_path: Path) -> None:
    first, second = write_record(tmp_path / "a.jsonl"), write_record(tmp_path / "b.jsonl", caption=other_verb)
    out = tmp_path / "scores.json"
    assert evaluate_main(["stream", str(first), str(second), "--json", str(out)]) == 0
    scores = json.loads(out.read_text())
    assert scores["about"] == {"records": [str(first), str(second)]}
    right, wrong = (scores[str(path)]["caption_both"] for path in (first, second))
    assert right > wrong
    assert scores["stream"]["caption_both"] == pytest.approx((right + wrong) / 2)
