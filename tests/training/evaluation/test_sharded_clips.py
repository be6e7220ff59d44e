"""An evaluation whose clips several processes embed scores what one process scores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.training.evaluation.planted import planted
from tests.training.videos import write_frames
from training.data.chunks import VideoStore
from training.data.clip_reader import ClipReader
from training.data.records import Clip
from training.distributed import Ranks
from training.evaluation import sharded_clips
from training.evaluation.command import evaluate_main
from training.evaluation.embedding import embed_clips

ROOT = Path(__file__).resolve().parents[3]
CLIPS = [Clip(video="v", start=second, end=second + 1) for second in range(9)] + [Clip(video="no", start=0, end=1)]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    write_frames(root / "v.mp4", 100)
    return root


@pytest.fixture
def embed(videos, tmp_path):
    """Embeds CLIPS as a worker; a clip's vector is the number of its first frame and 1."""
    weights = tmp_path / "weights"
    weights.touch()
    embedder = planted(weights, lambda number: np.array([number, 1], np.float32), lambda text: np.ones(2, np.float32))
    reader = ClipReader(store=VideoStore.open(videos, ["v"], report=lambda _: None), frames=2, size=48)

    def run(clips=CLIPS, **options):
        return embed_clips(embedder, clips, reader, unit=False, **options)

    return run


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_vectors_and_unreadable_clips_are_those_of_one_process(workers, embed, tmp_path, monkeypatch):
    alone = embed()
    for rank in (1, 0):
        monkeypatch.setattr(sharded_clips, "ranks_of_environment", lambda rank=rank: Ranks(rank=rank, size=2))
        found = embed(shards=tmp_path / "shards", workers=workers)
        np.testing.assert_array_equal(found.vectors, alone.vectors)
        np.testing.assert_array_equal(found.readable, [True] * 9 + [False])
        assert {row: str(error) for row, error in found.unreadable.items()} == {
            row: str(error) for row, error in alone.unreadable.items()
        }
    assert len(list((tmp_path / "shards").glob("*.pt"))) == 9


def test_what_is_there_is_not_made_again(embed, tmp_path):
    embed(shards=tmp_path / "shards")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").glob("*.pt")}
    missing = tmp_path / "shards" / "0000004.pt"
    missing.unlink()
    embed(shards=tmp_path / "shards")
    changed = {path for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert changed == {missing}


def test_other_clips_are_refused(embed, tmp_path, capsys):
    embed(shards=tmp_path / "shards")
    with pytest.raises(ValueError, match="was made with clips_sha256"):
        embed(CLIPS[::-1], shards=tmp_path / "shards")


def questions(folder: Path) -> Path:
    def entry(second: int) -> dict[str, object]:
        return {"video_uid": "v", "clip_start": second, "clip_end": second + 1, "narration_time": second + 0.5,
                "clip_text": f"#C C does {second}", "tag_noun": "[1]", "tag_verb": "[2]"}  # fmt: skip

    asked = {
        str(i): {"answer": 0, "types": 2, "query": entry(i),
                 "choices": {str(k): entry((i + k) % 9) for k in range(5)}}
        for i in range(9)
    }  # fmt: skip
    path = folder / "egomcq.json"
    path.write_text(json.dumps(asked))
    return path


def test_workers_without_a_folder_are_refused(videos, henasy_weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    arguments = ["egomcq", questions(tmp_path), "--videos", videos, "--weights", henasy_weights]
    assert evaluate_main([*map(str, arguments)]) == 2
    assert "2 workers have nothing to share the work through; give --shards DIR" in capsys.readouterr().err
    assert evaluate_main(["stream", "record.jsonl"]) == 2
    assert "stream runs in one" in capsys.readouterr().err


@pytest.mark.slow
def test_torchruns_workers_score_what_one_process_scores(videos, henasy_weights, tmp_path):
    arguments = ["egomcq", questions(tmp_path), "--videos", videos, "--weights", henasy_weights, "--device", "cpu"]
    assert evaluate_main([*map(str, arguments), "--json", str(tmp_path / "alone.json")]) == 0
    more = ["--json", tmp_path / "shared.json", "--shards", tmp_path / "shards"]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
         str(ROOT / "training" / "evaluate.py"), *map(str, [*arguments, *more])],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    alone, shared = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("alone", "shared"))
    assert shared == alone
    assert done.stdout.count("9 of 9 questions") == 1  # one worker tells
