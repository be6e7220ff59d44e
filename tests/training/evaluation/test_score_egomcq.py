"""`evaluate.py egomcq`: planted answers give the score they must, real weights the one computed here by hand."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from henasy_stream.model import Henasy, load_lavila
from henasy_stream.model.checkpoints import load_strictly, load_weights
from henasy_stream.model.tokenizer import ClipTokenizer
from henasy_stream.preprocess import Resize, View
from tests.training.evaluation.planted import TINY, planted
from tests.training.videos import write_frames
from training.data.chunks import VideoStore
from training.data.clip_reader import read_clip
from training.data.records import Clip
from training.evaluation.egomcq import Score, score_egomcq
from training.evaluation.embedding import Vectors, Videos
from training.evaluation.result import Result

Seen = Callable[[int], Vectors]
Embed = Callable[[torch.Tensor], torch.Tensor]
ROOT = Path(__file__).resolve().parents[3]
FPS, LENGTH, VIDEOS = 4, 60, 6
CLIP_S = 2.5
CLIPS = 36
"""Ten pictures each: clip c of all is clip c % 6 of video c // 6 and shows the numbers 10 c … 10 c + 9."""


def entry(clip: int) -> dict[str, Any]:
    video, place = divmod(clip, 6)
    return {
        "video_uid": f"v{video}", "clip_start": str(CLIP_S * place), "clip_end": CLIP_S * (place + 1),
        "narration_time": 1.0, "clip_text": f"#C C does {clip}", "tag_noun": "[1]", "tag_verb": "[2]",
    }  # fmt: skip


def question(kind: int, choices: list[int], answer: int, text: str | None = None) -> dict[str, Any]:
    query = entry(choices[answer])
    if text is not None:
        query["clip_text"] = text
    return {
        "answer": answer,
        "types": kind,
        "query": query,
        "choices": {str(i): entry(c) for i, c in enumerate(choices)},
    }


INTER, INTRA = [0, 7, 14, 21, 28], [6, 7, 8, 9, 10]
QUESTIONS = {
    "0": question(1, INTER, 0),
    "1": question(1, INTER, 3),
    "2": question(1, INTER, 3, "#C C does 14"),  # the narration fits another of the five
    "3": question(2, INTRA, 4),
    "4": question(2, INTRA, 0, "#C C does 10"),
    "5": question(1, [30, 7, 14, 21, 28], 0),  # video v5: the chunk is damaged
    "6": question(2, [30, 31, 32, 33, 34], 0),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """egomcq.json and chunks of 15 s as AVION names them; the one of v5 is damaged."""
    root = tmp_path_factory.mktemp("egomcq")
    for video in range(VIDEOS):
        for chunk in range(2):
            write_frames(root / "videos" / f"v{video}.mp4" / f"{15 * chunk}.mp4", LENGTH, fps=FPS, first=LENGTH * video)
    damaged = root / "videos" / "v5.mp4" / "0.mp4"
    damaged.write_bytes(damaged.read_bytes()[:300])
    (root / "egomcq.json").write_text(json.dumps(QUESTIONS))
    return root


def one_hot(clip: int) -> Vectors:
    return np.eye(CLIPS, dtype=np.float32)[clip]


def number_of(text: str) -> int:
    return int(text.rsplit(" ", 1)[1])


def score(data: Path, seen: Seen, *, how: Score = "cosine") -> Result:
    embedder = planted(data / "egomcq.json", seen, lambda text: one_hot(number_of(text)))
    return score_egomcq(embedder, data / "egomcq.json", Videos(root=data / "videos"), score=how)


def test_planted_answers_give_their_score(data):
    result = score(data, lambda number: one_hot(number // 10))
    assert result.scores == {"inter": pytest.approx(200 / 3), "intra": 50.0}
    assert (result.total, result.scored, result.clips) == (7, 5, 14)
    assert len(result.unreadable) == 5
    assert all("v5.mp4/0.mp4" in line for line in result.unreadable)
    assert result.published["LaViLa (B)"] == {"inter": 93.8, "intra": 59.9}
    assert "inter 0.0 %, intra 100.0 %" in result.notes[0]


def test_the_dot_product_ranks_otherwise_where_lengths_differ(data):
    def seen(number: int) -> Vectors:
        clip = number // 10
        vector = one_hot(clip) + (0.2 * one_hot(21) if clip == 14 else 0)  # leans to 21 a little, and is long
        return vector * (10 if clip == 14 else 1)

    assert score(data, seen).scores["inter"] == pytest.approx(200 / 3)
    assert score(data, seen, how="dot").scores["inter"] == pytest.approx(100 / 3)


def by_hand(
    data: Path, video_of: Embed, text_of: Callable[[str], torch.Tensor], size: int, resize: Resize
) -> dict[str, float]:
    """Percent of readable questions, everything computed one clip at a time."""
    store = VideoStore.open(data / "videos", ["v0"], report=lambda line: None)
    right: dict[int, list[bool]] = {1: [], 2: []}
    for asked in list(QUESTIONS.values())[:5]:
        clips = [
            Clip(video=c["video_uid"], start=float(c["clip_start"]), end=float(c["clip_end"]))
            for c in asked["choices"].values()
        ]
        scores = []
        for clip in clips:
            images = read_clip(store, clip, 4)
            view = View.plan(images.shape[1], images.shape[2], size, resize)
            video = np.stack([view.apply(image) for image in images]).astype(np.float32)
            video = (video - np.array(TINY.preprocess.mean)) / np.array(TINY.preprocess.std)
            a = video_of(torch.from_numpy(video.astype(np.float32)).permute(0, 3, 1, 2)[None])[0]
            b = text_of(asked["query"]["clip_text"])
            scores.append(float(torch.nn.functional.cosine_similarity(a, b, dim=0)))
        right[asked["types"]].append(int(np.argmax(scores)) == asked["answer"])
    return {name: 100 * float(np.mean(right[code])) for name, code in (("inter", 1), ("intra", 2))}


def test_a_lavila_checkpoint_is_the_baseline_row(data, evaluate, lavila_checkpoint, capsys):
    found = evaluate("egomcq", data / "egomcq.json", "--videos", data / "videos", "--weights", lavila_checkpoint)
    model = load_lavila(lavila_checkpoint)
    tokenizer = ClipTokenizer(model.text.config.context)
    with torch.no_grad():
        expected = by_hand(
            data, model.encode_video, lambda t: model.encode_text(torch.from_numpy(tokenizer([t])))[0], 32, "crop"
        )
    assert found["scores"] == expected
    assert found["about"]["kind"] == "lavila"
    digest = hashlib.sha256((data / "egomcq.json").read_bytes()).hexdigest()
    assert found["files"] == {"egomcq.json": digest}
    shown = capsys.readouterr().out
    assert digest in shown
    assert "93.8" in shown
    assert "61.3" in shown
    assert "5 of 7 questions" in shown


@pytest.mark.slow
def test_weights_of_henasy_in_a_process_of_its_own(data, henasy_weights, tmp_path):
    out = tmp_path / "r.json"
    command = [
        sys.executable, ROOT / "training" / "evaluate.py", "egomcq", data / "egomcq.json", "--videos", data / "videos",
        "--weights", henasy_weights, "--workers", "1", "--batch", "3", "--device", "cpu", "--json", out,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    state, config, _ = load_weights(henasy_weights)
    model = Henasy(config)
    load_strictly(model, state, henasy_weights)
    model.eval()
    tokenizer = ClipTokenizer(config.text.context)
    with torch.no_grad():
        expected = by_hand(
            data,
            lambda video: model(video).video,
            lambda text: model.encode_text(torch.from_numpy(tokenizer([text])))[0],
            32,
            "squash",
        )
    assert json.loads(out.read_text())["scores"] == expected
    assert "inter" in done.stdout


def test_a_type_that_is_never_asked_is_null_and_said(data, tmp_path, evaluate, henasy_weights, capsys):
    (tmp_path / "egomcq.json").write_text(json.dumps({"0": QUESTIONS["0"]}))
    found = evaluate("egomcq", tmp_path / "egomcq.json", "--videos", data / "videos", "--weights", henasy_weights)
    assert found["scores"]["intra"] is None
    assert "intra: NaN, there is no such question" in capsys.readouterr().out


def test_more_frames_than_the_weights_have(data, evaluate, lavila_checkpoint):
    arguments = ("egomcq", data / "egomcq.json", "--videos", data / "videos", "--weights", lavila_checkpoint)
    assert evaluate(*arguments, "--frames", "6")["about"]["frames"] == 6


def test_what_is_refused(data, tmp_path, refuse, henasy_weights):
    given = ("--videos", data / "videos", "--weights", henasy_weights)
    assert "No such file" in refuse("egomcq", tmp_path / "none.json", *given)
    swapped = {key: {**q, "types": 3 - q["types"]} for key, q in QUESTIONS.items()}
    (tmp_path / "swapped.json").write_text(json.dumps(swapped))
    assert "types seems swapped" in refuse("egomcq", tmp_path / "swapped.json", *given)
    annotations = data / "egomcq.json"
    assert "none of the" in refuse("egomcq", annotations, "--videos", tmp_path, "--weights", henasy_weights)
    assert "no such file" in refuse("egomcq", annotations, "--videos", data / "videos", "--weights", tmp_path / "x.pth")
    (tmp_path / "x.pth").write_bytes(b"no checkpoint")
    assert "x.pth" in refuse("egomcq", annotations, "--videos", data / "videos", "--weights", tmp_path / "x.pth")
    (tmp_path / "bad.json").write_text(json.dumps({"0": QUESTIONS["5"]}))
    said = refuse("egomcq", tmp_path / "bad.json", "--videos", data / "videos", "--layout", "whole", *given[2:])
    assert "layout" in said


def test_when_no_clip_can_be_read_there_is_no_score(data, tmp_path, refuse, henasy_weights):
    (tmp_path / "q.json").write_text(json.dumps({"0": QUESTIONS["6"]}))
    said = refuse("egomcq", tmp_path / "q.json", "--videos", data / "videos", "--weights", henasy_weights)
    assert "none of 5 clips could be read" in said
    assert "v5.mp4" in said
