"""`evaluate.py grounding`: coloured things in real videos, and slots that see colours."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from torch import Tensor

from henasy_stream.errors import UserError
from henasy_stream.model import Henasy
from henasy_stream.preprocess import Resize, View
from tests.training.evaluation.planted import Planted, planted
from training.data.grounding import read_labels
from training.evaluation.embedding import Observed, Vectors, Videos
from training.evaluation.grounding import label_in_view, score_grounding
from training.evaluation.result import Result

WIDTH, HEIGHT, FPS, FRAMES = 96, 64, 10, 40
RED, BLUE = (220, 20, 20), (20, 20, 220)
BLUE_BOX = (70, 8, 86, 24)


def red_box(time: float) -> tuple[int, int, int, int]:
    """It moves two pixels a frame."""
    left = 2 * round(time * FPS)
    return left, 40, left + 16, 56


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("grounding")
    for name in ("a", "b"):
        path = root / "videos" / f"{name}.mp4"
        path.parent.mkdir(exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=FPS, options={"crf": "8"})
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for number in range(FRAMES):
                image = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
                for (x0, y0, x1, y1), colour in ((red_box(number / FPS), RED), (BLUE_BOX, BLUE)):
                    image[y0:y1, x0:x1] = colour
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
    (root / "videos" / "b.mp4").write_bytes((root / "videos" / "b.mp4").read_bytes()[:400])
    mask = np.zeros((2 * HEIGHT, 2 * WIDTH), np.uint8)  # of twice the video's size
    x0, y0, x1, y1 = BLUE_BOX
    mask[2 * y0 : 2 * y1, 2 * x0 : 2 * x1] = 255
    cv2.imwrite(str(root / "blue.png"), mask)
    return root


def cup(time: float, video: str = "a", scale: int = 1, **more: Any) -> dict[str, Any]:
    box = [scale * value for value in red_box(time)]
    return {"video": video, "time": time, "noun": "cup", "box": box, "size": [scale * WIDTH, scale * HEIGHT], **more}


KNIFE = {"video": "a", "time": 2.0, "start": 1.0, "end": 3.0, "noun": "knife", "mask": "blue.png"}


def write(folder: Path, *labels: dict[str, Any]) -> Path:
    path = folder / "labels.json"
    path.write_text(json.dumps({"version": 1, "labels": labels}))
    return path


class Seeing(Planted):
    """Slot 0 sees red, slot 1 blue, slot 2 the rest."""

    def entity_network(self) -> Henasy:
        return None  # type: ignore[return-value]

    def observe(self, frames: Tensor) -> Observed:
        colours = frames.numpy().astype(int)
        red = colours[..., 0] > colours[..., 2] + 90
        blue = colours[..., 2] > colours[..., 0] + 90
        slots = np.stack([red, blue, ~red & ~blue], -1).astype(np.float32)
        entities = np.tile(np.eye(3, dtype=np.float32), (len(frames), 1, 1))
        return Observed(video=entities[:, 0], entities=entities, probability=slots)


NOUNS = {"cup": 0, "knife": 1, "spoon": 2}


def score(root: Path, labels: Path, nouns: dict[str, int] = NOUNS, **options: Any) -> Result:
    def said(noun: str) -> Vectors:
        return np.eye(3, dtype=np.float32)[nouns[noun]]

    embedder = planted(labels, lambda number: np.zeros(3, np.float32), said, kind=Seeing, size=96, **options)
    return score_grounding(embedder, labels, Videos(root=root / "videos"))


def test_slots_that_know_names_and_places(root):
    result = score(root, write(root, cup(1.0), cup(2.5, scale=2), KNIFE))
    assert result.scores["noun_miou"] == result.scores["best_slot_miou"]
    assert result.scores["noun_miou"] > 94
    assert result.scores["trivial_whole_frame"] == pytest.approx(100 * 16 * 16 / (WIDTH * HEIGHT), abs=0.01)
    assert (result.total, result.scored, result.clips) == (3, 3, 3)
    assert result.notes == ["2 boxes, 1 masks, 2 nouns; scored in the square that the network sees"]
    assert result.published["HENASY"] == {"noun_miou": 41.06}
    digest = hashlib.sha256((root / "blue.png").read_bytes()).hexdigest()
    assert result.files["blue.png"] == digest


def test_names_that_choose_the_wrong_slot_are_told_from_bad_slots(root):
    result = score(root, write(root, cup(1.0), cup(2.0), KNIFE), {"cup": 1, "knife": 1})
    assert result.scores["noun_miou"] == pytest.approx(result.scores["best_slot_miou"] / 3, abs=2)
    assert "nouns choose badly" in result.notes[1]


def test_an_answer_that_never_looks_is_named_where_it_is_better(root):
    result = score(root, write(root, cup(1.0)), {"cup": 2})
    assert any("never looks" in note for note in result.notes)


def test_the_labelled_picture_itself_is_seen(root):
    """Of the clip's own four frames the nearest one is half a second away; there the cup is ten pixels off."""
    result = score(root, write(root, cup(1.0, start=0.0, end=4.0)))
    assert result.scores["noun_miou"] > 94


def test_labels_of_one_moment_are_read_once(root):
    result = score(root, write(root, KNIFE, cup(2.0, start=1.0, end=3.0)))
    assert (result.total, result.clips) == (2, 1)


def test_what_the_crop_does_not_show_is_left_out_and_said(root):
    result = score(root, write(root, cup(0.0), cup(1.5)), resize="crop")  # the crop shows columns 16 to 80
    assert (result.total, result.scored) == (2, 1)
    assert "1 labels left out: the network sees nothing of them" in result.notes
    assert result.scores["noun_miou"] > 90


def test_what_cannot_be_read_is_left_out_and_said(root):
    result = score(root, write(root, cup(1.0), cup(1.0, "b")))
    assert (result.total, result.scored, result.clips) == (2, 1, 2)
    assert "b.mp4" in result.unreadable[0]


def test_a_box_in_pixels_and_the_same_mask_are_one_label(root, tmp_path):
    left, top, right, bottom = red_box(1.0)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top:bottom, left:right] = 1
    cv2.imwrite(str(tmp_path / "red.png"), mask)
    both = write(tmp_path, cup(1.0), {"video": "a", "time": 1.0, "noun": "cup", "mask": "red.png"})
    resizes: tuple[Resize, ...] = ("crop", "squash", "letterbox")
    for resize in resizes:
        view = View.plan(HEIGHT, WIDTH, 48, resize)
        boxed, masked = (label_in_view(label, view) for label in read_labels(both))
        np.testing.assert_array_equal(boxed, masked)
        assert 0.02 < boxed.mean() < 0.2


def test_the_command(root, evaluate, refuse, henasy_weights, lavila_checkpoint, capsys):
    labels = write(root, cup(1.0), cup(2.0), KNIFE, cup(1.0, "b"))
    found = evaluate("grounding", labels, "--videos", root / "videos", "--weights", henasy_weights, "--batch", "2")
    assert found["total"] == 4
    assert found["scored"] == 3
    assert 0 <= found["scores"]["noun_miou"] <= found["scores"]["best_slot_miou"] <= 100
    shown = capsys.readouterr().out
    assert "41.06" in shown
    assert "b.mp4" in shown
    said = refuse("grounding", labels, "--videos", root / "videos", "--weights", lavila_checkpoint)
    assert "a dual encoder has no entities" in said


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"video": 7}, "label 0, field video: 7"),
        ({"noun": " "}, "label 0, field noun: ' '"),
        ({"time": "x"}, "label 0, field time: 'x', expected seconds"),
        ({"time": float("nan")}, "label 0, field time: nan"),
        ({"time": -1}, "label 0, field time: -1"),
        ({"start": 0.5}, "label 0, field end: None"),
        ({"start": 2.5, "end": 3}, "label 0, field time: 1 lies outside the clip, 2.5-3"),
        ({"box": [1, 2, 3]}, r"label 0, field box: \[1, 2, 3\], expected 4 numbers"),
        ({"box": [9, 2, 3, 4]}, "label 0, field box: .* covers nothing"),
        ({"box": [200, 2, 300, 4]}, "label 0, field box: .* covers nothing"),
        ({"size": [0, 4]}, "label 0, field size"),
        ({"size": None}, "label 0, field size: None, expected 2 numbers"),
        ({"mask": "blue.png"}, "label 0: give either box with size, or mask"),
    ],
)
def test_a_bad_label_is_named(change, reason, tmp_path):
    with pytest.raises(UserError, match=reason):
        read_labels(write(tmp_path, {**cup(1.0), **change}))


def test_another_file_and_a_missing_mask(tmp_path, root, refuse, henasy_weights):
    given = ("--videos", root / "videos", "--weights", henasy_weights)
    (tmp_path / "labels.json").write_text("[]")
    assert "expected" in refuse("grounding", tmp_path / "labels.json", *given)
    assert "no labels" in refuse("grounding", write(tmp_path), *given)
    assert "none.png" in refuse("grounding", write(tmp_path, {**KNIFE, "mask": "none.png"}), *given)
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    assert "bad.png: no PNG" in refuse("grounding", write(tmp_path, {**KNIFE, "mask": "bad.png"}), *given)
