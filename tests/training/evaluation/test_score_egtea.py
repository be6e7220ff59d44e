"""`evaluate.py egtea`: thirty views of each clip, and the best one counts."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.training.evaluation.planted import planted
from tests.training.videos import Frames, numbers_of, write_frames
from training.data.chunks import VideoStore
from training.data.dense_reader import DenseReader, square_crops
from training.data.records import Clip, ClipError
from training.evaluation.egtea import score_egtea
from training.evaluation.embedding import Vectors, Videos

SESSION = "OP01-R01-PastaSalad"
LENGTHS = (70, 50, 20, 90, 60, 33)
ACTIONS = ("Open_Fridge 1", "Cut_Bell_Pepper 2", "Wash Cup 3")
DIMENSIONS = 6


def name(clip: int) -> str:
    return f"{SESSION}-{1000 * clip}-{1000 * clip + 900}-F{clip:06d}-F{clip + 1:06d}"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("egtea")
    for clip, length in enumerate(LENGTHS):
        write_frames(root / "cropped_clips" / SESSION / f"{name(clip)}.mp4", length, fps=24, first=37 + 500 * clip)
    (root / "action_idx.txt").write_text("\n".join(ACTIONS))
    (root / "test_split1.txt").write_text("\n".join(f"{name(i)} {1 + i % 3} 5 16" for i in range(len(LENGTHS))))
    return root


def store_of(root: Path) -> VideoStore:
    return VideoStore.open(root / "cropped_clips", [f"{SESSION}/{name(0)}"], report=lambda line: None)


def decoded(root: Path, clip: int) -> Frames:
    with av.open(str(root / "cropped_clips" / SESSION / f"{name(clip)}.mp4")) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def by_hand(root: Path, clip: int) -> list[Frames]:
    """The thirty views, a frame at a time; pictures are 96 x 32, so the crops start at 0, 32 and 64."""
    frames = decoded(root, clip)
    views = []
    for start in np.linspace(0, max(len(frames) - 32, 0), 10).astype(int):
        chosen = frames[[min(start + 2 * t, len(frames) - 1) for t in range(16)]]
        views += [chosen[:, :, left : left + 32] for left in (0, 32, 64)]
    return views


@pytest.mark.parametrize("clip", [0, 2])
def test_ten_clips_times_three_crops(clip, root):
    reader = DenseReader(store=store_of(root), size=32)
    views = reader(Clip(video=f"{SESSION}/{name(clip)}", start=0, end=np.inf), np.random.default_rng(0))["frames"]
    assert views.shape == (30, 16, 32, 32, 3)
    np.testing.assert_array_equal(views, np.stack(by_hand(root, clip)))


@pytest.mark.parametrize(("height", "width"), [(40, 90), (90, 40), (40, 41), (40, 40)])
def test_crops_lie_at_both_ends_and_in_the_middle(height, width):
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    crops = square_crops(np.stack([rows, columns, columns], -1), 40)
    along = 0 if height > width else 1
    spare = abs(height - width)
    assert [int(crop[0, 0, along]) for crop in crops] == [0, -(-spare // 2), spare]
    assert all(int(crop[0, 0, 1 - along]) == 0 for crop in crops)


def test_a_missing_and_a_damaged_file_are_named(root, tmp_path):
    folder = tmp_path / SESSION
    write_frames(folder / "good.mp4", 10)
    (folder / "bad.mp4").write_bytes((folder / "good.mp4").read_bytes()[:500])
    reader = DenseReader(store=VideoStore.open(tmp_path, [f"{SESSION}/good"], report=lambda line: None), size=32)
    for video, reason in (("bad", "bad.mp4"), ("none", "no file of this video")):
        with pytest.raises(ClipError, match=reason):
            reader(Clip(video=f"{SESSION}/{video}", start=0, end=np.inf), np.random.default_rng(0))


def seen(number: int) -> Vectors:
    return np.random.default_rng(number).standard_normal(DIMENSIONS).astype(np.float32)


SAID = {"open fridge": seen(9001), "cut bell pepper": seen(9002), "wash cup": seen(9003)}


def scores_of(root: Path, views: slice) -> tuple[float, float]:
    """Top-1 and mean-class accuracy, spelled out."""
    right: dict[int, list[bool]] = {0: [], 1: [], 2: []}
    predicted = set()
    for clip in range(len(LENGTHS)):
        vectors = [seen(numbers_of(view[:1])[0]) for view in by_hand(root, clip)[views]]
        cosines = [
            max(float(v @ text / np.linalg.norm(v) / np.linalg.norm(text)) for v in vectors) for text in SAID.values()
        ]
        answer = int(np.argmax(cosines))
        predicted.add(answer)
        right[clip % 3].append(answer == clip % 3)
    every = [value for values in right.values() for value in values]
    return 100 * float(np.mean(every)), 100 * float(np.mean([np.mean(values) for values in right.values()]))


def test_planted_views_give_their_score(root):
    embedder = planted(root / "action_idx.txt", seen, lambda text: SAID[text], num_frames=16)
    result = score_egtea(embedder, root, Videos(root=root / "cropped_clips"))
    top1, mean_class = scores_of(root, slice(None))
    assert result.scores == {"top1": pytest.approx(top1), "mean_class": pytest.approx(mean_class)}
    assert top1 != scores_of(root, slice(1, None, 3))[0]  # the outer crops have a say
    assert result.published["LaViLa (B)"] == {"top1": 35.5, "mean_class": 28.9}
    assert (result.total, result.scored) == (6, 6)


def test_weights_of_henasy_take_sixteen_frames_too(root, evaluate, henasy_weights):
    given = ("--videos", root / "cropped_clips", "--weights", henasy_weights, "--template", "ego")
    found = evaluate("egtea", root, *given)
    assert (found["about"]["kind"], found["about"]["frames"]) == ("henasy", 16)
    assert 0 <= found["scores"]["top1"] <= 100


def test_the_command_takes_sixteen_frames(root, evaluate, lavila_checkpoint, tmp_path, refuse, capsys):
    given = ("--videos", root / "cropped_clips", "--weights", lavila_checkpoint, "--batch", "30")
    found = evaluate("egtea", root, *given)
    assert found["about"]["frames"] == 16
    assert set(found["scores"]) == {"top1", "mean_class"}
    assert set(found["files"]) == {"action_idx.txt", "test_split1.txt"}
    shown = capsys.readouterr().out
    assert "28.9" in shown
    assert "10 clips x 3 crops of 16 frames, stride 2" in shown
    (tmp_path / "action_idx.txt").write_text("Open 1\n")
    (tmp_path / "test_split1.txt").write_text(f"{name(0)} 2 5\n")
    assert "action 2 is not among the 1 of the list" in refuse("egtea", tmp_path, *given)
