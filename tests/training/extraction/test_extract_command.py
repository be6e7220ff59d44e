"""`extract.py` as a user meets it, on real chunks with tiny weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from tests.training.extraction.conftest import SPANS, write_annotations
from training.data.chunks import VideoStore
from training.data.clip_reader import ClipReader
from training.data.ego4d import ClipSpan
from training.evaluation.embedding import open_embedder
from training.extraction.command import extract_main
from training.extraction.windows import Windows

SCRIPT = Path(__file__).parents[3] / "training" / "extract.py"
BAD = {**SPANS, "broken": ("bad", 10.0, 20.0), "sound": ("bad", 0.0, 9.0)}


@pytest.fixture
def extract(videos, nlq, henasy_weights, tmp_path):
    """Runs `extract.py` in this process; options replace the usual ones."""

    def run(task: str = "nlq", **options: object) -> int:
        usual = {"annotations": nlq, "videos": videos, "weights": henasy_weights, "out": tmp_path / "out"}
        given = {**usual, "device": "cpu", **options}
        return extract_main([task, *(part for name, value in given.items() for part in (f"--{name}", str(value)))])

    return run


def expected(videos: Path, weights: Path, name: str) -> np.ndarray:
    """The features of a clip, each window read and embedded by itself."""
    embedder = open_embedder(str(weights), device="cpu", num_frames=4)
    store = VideoStore.open(videos, ["a", "b"], report=lambda _: None)
    config = embedder.config
    reader = ClipReader(store=store, frames=4, size=config.vision.image_size, resize=config.preprocess.resize)
    video, start, end = SPANS[name]
    windows = Windows().of(ClipSpan(clip=name, video=video, start=start, end=end))
    frames = [torch.from_numpy(reader(window, np.random.default_rng())["frames"])[None] for window in windows]
    return np.concatenate([embedder.videos(one, unit=False) for one in frames])


def load(path: Path) -> Any:
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("weights", ["henasy_weights", "lavila_checkpoint"])
@pytest.mark.parametrize("task", ["nlq", "mq"])
def test_one_file_of_window_features_for_each_clip(task, weights, extract, videos, tmp_path, request):
    weights = request.getfixturevalue(weights)
    assert extract(task, weights=weights, batch=5) == 0
    out = tmp_path / "out"
    for name, (_, start, end) in SPANS.items():
        features = load(out / f"{name}.pt")
        assert features.dtype == torch.float32
        assert len(features) == int(np.ceil((end - start) * 1.87))
        np.testing.assert_allclose(features, expected(videos, weights, name), atol=1e-5, rtol=1e-4)
    queries = {"queries"} if task == "nlq" else set()
    assert {path.stem for path in out.glob("*.pt")} == {*SPANS} | queries


def test_the_manifest_says_what_was_made_of_what(extract, nlq, henasy_weights, tmp_path):
    assert extract() == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["settings"]["stride_seconds"] == manifest["settings"]["window_seconds"] == pytest.approx(1 / 1.87)
    assert (manifest["settings"]["frames"], manifest["settings"]["dim"]) == (4, 8)
    assert manifest["model"] == {"name": "tiny", "kind": "henasy"}
    assert len(manifest["settings"]["weights_sha256"]) == len(manifest["annotations"]["nlq_val.json"]) == 64
    assert {name: record["shape"] for name, record in manifest["files"].items() if name != "queries"} == {
        name: [int(np.ceil((end - start) * 1.87)), 8] for name, (_, start, end) in SPANS.items()
    }
    assert manifest["unreadable"] == {}


def test_queries_as_sentences_and_as_tokens(extract, henasy_weights, tmp_path):
    assert extract() == 0
    queries = load(tmp_path / "out" / "queries.pt")
    texts = ["Where is the cup?", "What did I put into the red box?", *(f"When did I see {name}?" for name in SPANS)]
    assert set(queries["sentences"]) == set(queries["tokens"]) == set(texts)
    embedder = open_embedder(str(henasy_weights), device="cpu")
    found = torch.stack([queries["sentences"][text] for text in texts])
    np.testing.assert_allclose(found, embedder.texts(texts, unit=False), atol=1e-5)
    assert queries["tokens"]["Where is the cup?"].shape == (5, 8)  # where · is · the · cup · ?
    # The tower is causal: a shorter text's tokens are the first ones of a longer text.
    first = queries["tokens"]["When did I see other?"][:4]
    torch.testing.assert_close(first, queries["tokens"]["When did I see short?"][:4])


def test_several_annotation_files_are_one_set_of_clips(extract, nlq, videos, henasy_weights, tmp_path):
    assert extract() == 0
    more = write_annotations(tmp_path / "nlq_train.json", {"inside": SPANS["inside"], "new": ("b", 5.0, 9.0)})
    times = {path.stem: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.pt")}
    arguments = ["nlq", "--annotations", nlq, more, "--videos", videos, "--weights", henasy_weights]
    assert extract_main([*map(str, arguments), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert set(manifest["files"]) == {*SPANS, "new", "queries"}
    assert "When did I see new?" in load(tmp_path / "out" / "queries.pt")["sentences"]
    kept = {name for name, time in times.items() if (tmp_path / "out" / f"{name}.pt").stat().st_mtime_ns == time}
    assert kept == {*SPANS}


def test_unreadable_clips_are_named_and_left_out(extract, tmp_path, capsys):
    annotations = write_annotations(tmp_path / "nlq.json", BAD)
    assert extract(annotations=annotations) == 1
    told = capsys.readouterr().err
    assert "extract: broken: clip bad 10-20 s can't be read:" in told
    last = told.splitlines()[-1]
    assert last.startswith("extract: 1 of 7 clips can't be read and have no file;")
    assert "manifest.json says why" in last
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert list(manifest["unreadable"]) == ["broken"]
    assert manifest["unreadable"]["broken"]["path"].endswith("bad.mp4/15.mp4")
    assert set(manifest["files"]) == {*SPANS, "sound", "queries"}
    assert not (tmp_path / "out" / "broken.pt").exists()


def test_other_settings_need_another_folder(extract, lavila_checkpoint, capsys):
    assert extract() == 0
    for options in ({"rate": 2.0}, {"frames": 2}, {"weights": lavila_checkpoint}, {"seconds": 1.0}):
        assert extract(**options) == 2
        assert "choose another folder or delete it" in capsys.readouterr().err
    assert extract() == 0


def no_clips(folder: Path) -> dict[str, object]:
    return {"annotations": write_annotations(folder / "nlq.json", {})}


def two_places(folder: Path) -> dict[str, object]:
    path = write_annotations(folder / "nlq.json", {"c": ("a", 1.0, 2.0), "d": ("a", 1.0, 3.0)})
    path.write_text(path.read_text().replace('"d"', '"c"'))
    return {"annotations": path}


def other_weights(folder: Path) -> dict[str, object]:
    path = folder / "detector.pth"
    torch.save({"state_dict": {"backbone.weight": torch.zeros(3)}}, path)
    return {"weights": path}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no_clips, "nlq.json: no clips; give Ego4D's annotations of the task nlq"),
        (two_places, "clip c lies elsewhere than"),
        (other_weights, "detector.pth does not fit DualEncoder"),
        (lambda folder: {"weights": folder / "none.pth"}, "none.pth': no such file"),
        (lambda folder: {"videos": folder / "absent"}, "absent: no such folder"),
        (lambda folder: {"videos": folder}, "none of the 2 videos looked for is there"),
        (lambda folder: {"annotations": folder / "absent.json"}, "absent.json"),
        (lambda folder: {"annotations": __file__}, "test_extract_command.py"),
    ],
)
def test_bad_input_is_one_clear_line(change, message, extract, tmp_path, capsys):
    assert extract(**change(tmp_path)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("extract: ")]
    assert len(lines) == 1
    assert message in lines[0]


@pytest.mark.parametrize(("rank", "size"), [("x", "2"), ("2", "2"), ("-1", "2"), ("0", "")])
def test_ranks_that_make_no_sense(rank, size, extract, monkeypatch, capsys):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    assert extract() == 2
    assert f"extract: RANK={rank}, WORLD_SIZE={size}, LOCAL_RANK=0: a rank must be below" in capsys.readouterr().err


def test_help_from_any_folder(tmp_path):
    arguments = [sys.executable, str(SCRIPT), "--help"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "nlq" in done.stdout


@pytest.mark.slow
def test_torchruns_workers_killed_and_restarted_in_another_number(extract, videos, henasy_weights, tmp_path):
    clips = {f"c{place}": ("a", place / 4, place / 4 + 12.3) for place in range(40)}
    annotations = write_annotations(tmp_path / "nlq.json", clips)
    assert extract(annotations=annotations, out=tmp_path / "alone") == 0
    out = tmp_path / "shared"
    options = ["--annotations", annotations, "--videos", videos, "--weights", henasy_weights, "--out", out]

    def run_and_kill_one(workers: int, restarts: int) -> int:
        launch = ["torch.distributed.run", "--standalone", f"--nproc-per-node={workers}", f"--max-restarts={restarts}"]
        command = [sys.executable, "-m", *launch, str(SCRIPT), "nlq", *map(str, options)]
        there = len(list(out.glob("*.pt")))
        with subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}) as launcher:
            deadline = time.monotonic() + 120
            while len(list(out.glob("*.pt"))) < there + 3 and time.monotonic() < deadline:
                time.sleep(0.01)
            children = psutil.Process(launcher.pid).children()
            next(child for child in children if str(SCRIPT) in child.cmdline()).send_signal(signal.SIGKILL)
        return launcher.returncode

    assert run_and_kill_one(1, restarts=0) != 0
    assert len(list(out.glob("*.pt"))) < len(clips)
    assert not (out / "manifest.json").exists()
    assert run_and_kill_one(2, restarts=1) == 0
    names = {*clips, "queries"}
    assert {path.stem for path in out.glob("*.pt")} == names
    for name in clips:
        torch.testing.assert_close(
            load(out / f"{name}.pt"), load(tmp_path / "alone" / f"{name}.pt"), atol=1e-5, rtol=1e-4
        )
    assert set(json.loads((out / "manifest.json").read_text())["files"]) == names
    assert not list((out / ".work").iterdir())
