"""`evaluate.py own` on a folder in the layout of `prepare.py own`, with answers that the test has planted."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from henasy_stream.model import Henasy
from tests.training.evaluation.planted import Planted, planted
from tests.training.videos import write_frames
from training.data.hand_object import BOX_SHAPE
from training.data.own import COLUMNS
from training.data.records import Clip
from training.evaluation.embedding import Observed, Vectors
from training.evaluation.five_way import questions
from training.evaluation.own import score_own

CLIP_S, FPS, HELDOUT, DIMENSIONS = 2.5, 4, 18, 128
"""Eighteen held-out clips, six of each of three videos; clip c shows the numbers 10 c … 10 c + 9."""


def row(clip: int) -> dict[str, Any]:
    video, place = divmod(clip, 6)
    return {
        "video": f"h{video}", "start": CLIP_S * place, "end": CLIP_S * (place + 1), "narration": f"#C C does {clip}",
        "nouns": [clip % 6], "verbs": [clip % 4], "phrases": ["doing it"], "split": "heldout",
    }  # fmt: skip


TOLD = {"video": "t", "narration": "#C C does 100", "nouns": [1], "verbs": [2], "split": "train"}
TRAIN = [{**row(0), **TOLD, "start": start, "end": start + 1} for start in range(2)]


def write_own(folder: Path, rows: list[dict[str, Any]], *, boxes: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "own.json").write_text(json.dumps({"version": 1, "layout": "avion", "chunk_s": 15}))
    (folder / "nouns.txt").write_text("".join(f"noun {i}\n" for i in range(6)))
    (folder / "verbs.txt").write_text("".join(f"verb {i}\n" for i in range(4)))
    with (folder / "clips.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    if boxes:
        write_boxes(folder, [one for one in rows if one["split"] == "heldout"][1:])  # none for the first clip
    return folder


def write_boxes(folder: Path, rows: list[dict[str, Any]]) -> None:
    """One object in the left half of every picture, one hand in the upper right quarter."""
    (folder / "boxes").mkdir()
    for video in {one["video"] for one in rows}:
        its = [one for one in rows if one["video"] == video]
        found = np.full((len(its), *BOX_SHAPE), np.nan, np.float32)
        found[:, :, 0], found[:, :, 2] = (0.5, 0, 1, 0.5), (0, 0, 0.5, 1)
        start, end = (np.array([one[name] for one in its]) for name in ("start", "end"))
        np.savez(folder / "boxes" / f"{video}.npz", start=start, end=end, boxes=found)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own") / "videos"
    for video in range(3):
        write_frames(root / f"h{video}.mp4" / "0.mp4", 60, fps=FPS, first=60 * video)
    write_frames(root / "t.mp4" / "0.mp4", 60, fps=FPS, first=1000)
    return root


@pytest.fixture
def own(tmp_path: Path, videos: Path) -> Path:
    folder = write_own(tmp_path / "own", [row(clip) for clip in range(HELDOUT)] + TRAIN)
    (folder / "videos").symlink_to(videos)
    return folder


def one_hot(place: int) -> Vectors:
    return np.eye(DIMENSIONS, dtype=np.float32)[place]


class Halves(Planted):
    """Slot 0 covers the left half, slot 1 the right one."""

    def entity_network(self) -> Henasy:
        return None  # type: ignore[return-value]

    @property
    def kind(self) -> str:
        return "henasy"

    def observe(self, frames: Tensor) -> Observed:
        count, size = frames.shape[0], frames.shape[2]
        probability = np.zeros((*frames.shape[:2], size, size, 2), np.float32)
        probability[..., : size // 2, 0] = probability[..., size // 2 :, 1] = 1
        entities = np.stack([np.stack([one_hot(120), one_hot(121)])] * count)
        return Observed(video=entities[:, 0], entities=entities, probability=probability)


def said(text: str) -> Vectors:
    """Even nouns are in the left half, odd ones and the hand in the right half."""
    if text == "hand":
        return one_hot(121)
    number = int(text.rsplit(" ", 1)[1])
    return one_hot(120 + number % 2) if text.startswith("noun") else one_hot(number)


def seen(number: int) -> Vectors:
    clip = number // 10
    return one_hot(5 if clip == 3 else clip)  # clip 3 is taken for clip 5


def test_planted_answers_give_their_scores(own):
    result = score_own(planted(own / "own.json", seen, said, kind=Halves), own)
    expected = {
        "inter": 100 * 17 / 18,  # only clip 3 is not recognised
        "intra": 100 * 16 / 18,  # and among its own video's clip 5 cannot be told from clip 3
        "verb_top1": 100 * 17 / 18,
        "noun_top1": 100 * 17 / 18,
        "trivial_verb": 100 * 4 / 18,
        "trivial_noun": 100 * 3 / 18,
        "noun_miou": 100 * 8 / 17,  # clip 0, whose noun is even, has no boxes
        "best_slot_miou": 100,
        "trivial_whole_frame": 50,
        "hand_miou": 50,
    }
    assert {name: result.scores[name] for name in expected} == pytest.approx(expected)
    assert (result.total, result.scored) == (18, 18)
    assert "of 17 clips with boxes" in " ".join(result.notes)
    assert {"clips.csv", "nouns.txt", "verbs.txt", "own.json", "h0.npz"} <= set(result.files)


def clip(video: str, start: float, verb: int, noun: int) -> Clip:
    return Clip(
        video=video, start=start, end=start + 1, texts=(f"{verb} {noun} {start}",), verbs=(verb,), nouns=(noun,)
    )


def test_the_other_four_are_the_nearest_of_its_video_that_tell_of_something_else():
    clips = [clip("a", start, start % 3, start) for start in range(8)] + [clip("a", 8, 1, 7), clip("a", 3.5, 1, 4)]
    found = questions(clips, "intra", np.random.default_rng(0))
    others = {int(places[-1]): set(places[:-1].tolist()) for places in found}
    assert others[4] == {2, 3, 5, 6}  # not 9, which tells of the same verb and noun half a second earlier
    assert others[7] == {4, 5, 6, 9}  # not 8


@pytest.mark.parametrize("seed", range(8))
def test_the_other_four_are_of_other_videos(seed):
    clips = [clip("a", start, 3, start) for start in range(4)]
    clips += [clip(video, start, 5, 5) for video in "bcde" for start in range(3)] + [clip("b", 9, 3, 2)]
    found = questions(clips, "inter", np.random.default_rng(seed))
    assert len(found) == len(clips)
    for *others, right in found.tolist():
        assert len(set(others)) == 4
        told = [clips[other] for other in others]
        assert all(other.video != clips[right].video for other in told)
        if clips[right].video == "a":
            assert {other.video for other in told} == set("bcde")  # one of each
        assert right != 2 or len(clips) - 1 not in others  # which tells of the same


def test_too_few_clips_are_nan_and_said(tmp_path, videos):
    folder = write_own(tmp_path / "own", [row(0), row(1), *TRAIN], boxes=False)
    (folder / "videos").symlink_to(videos)
    result = score_own(planted(folder / "own.json", seen, said), folder)
    assert np.isnan(result.scores["inter"])
    assert np.isnan(result.scores["intra"])
    assert "inter: NaN, no clip has four others of other held-out videos that tell of something else" in result.notes
    assert "no grounding: the folder was prepared without boxes" in result.notes
    assert "noun_miou" not in result.scores


def test_what_cannot_be_read_is_left_out_and_said(own, videos, tmp_path):
    (own / "videos").unlink()
    for path in videos.rglob("*.mp4"):
        if path.is_file():
            copy = own / "videos" / path.relative_to(videos)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes()[: 300 if "h1" in str(path) else None])
    result = score_own(planted(own / "own.json", seen, said, kind=Halves), own)
    assert (result.total, result.scored) == (18, 12)
    assert len(result.unreadable) == 6
    assert "h1.mp4/0.mp4" in result.unreadable[0]
    assert result.scores["inter"] == pytest.approx(100 * 11 / 12)


def test_real_weights_by_the_command(own, evaluate, henasy_weights, lavila_checkpoint):
    found = evaluate("own", own, "--weights", henasy_weights)
    assert 0 <= found["scores"]["noun_miou"] <= found["scores"]["best_slot_miou"] <= 100
    assert found["published"] == {}
    baseline = evaluate("own", own, "--weights", lavila_checkpoint)
    assert "no grounding: a dual encoder has no entities" in baseline["notes"]
    assert set(baseline["scores"]) == {"inter", "intra", "verb_top1", "noun_top1", "trivial_verb", "trivial_noun"}


def test_what_is_refused(tmp_path, refuse, henasy_weights):
    assert "no own.json there" in refuse("own", tmp_path, "--weights", henasy_weights)
    folder = write_own(tmp_path / "own", TRAIN, boxes=False)
    assert "no video is held out" in refuse("own", folder, "--weights", henasy_weights)
    both = write_own(tmp_path / "both", [row(0), {**row(1), "split": "train"}], boxes=False)
    assert "video h0 is in both splits" in refuse("own", both, "--weights", henasy_weights)
