from __future__ import annotations

import pickle

import numpy as np
import pytest

from henasy_stream.errors import UserError
from training.data.hand_object import PADDING, HandObjectBoxes, narration_nouns, read_taxonomy
from training.data.records import Clip

INFO = {"height": 360, "width": 640}


def detections(*rows):
    return np.array(rows, np.float32)


@pytest.fixture
def boxes(tmp_path):
    def store(entries, chunk=0):
        (tmp_path / "u").mkdir(exist_ok=True)
        (tmp_path / "u" / f"{chunk}.handobj.pkl").write_bytes(pickle.dumps(entries))
        return HandObjectBoxes(root=tmp_path)

    return store


def clip(start):
    return Clip(video="u", start=start, end=start + 1)


def test_the_two_best_hands_and_objects_of_each_frame(boxes):
    hands = detections([0, 0, 64, 36, 0.2], [320, 180, 640, 360, 0.9], [64, 36, 128, 72, 0.5])
    frame = {"hand_dets": hands, "obj_dets": detections([0, 0, 640, 360, 0.3])}
    got = boxes({12.345: {"info": INFO, 0: frame, 1: {"hand_dets": None, "obj_dets": None}, 3: frame}})(clip(12.345))
    assert got.shape == (4, 4, 4)
    assert got.dtype == np.float32
    expected = np.array([[0.5, 0.5, 1, 1], [0.1, 0.1, 0.2, 0.2], [0, 0, 1, 1]])
    np.testing.assert_allclose(got[0, :3], expected, rtol=1e-6)
    assert np.isnan(got[0, 3]).all()
    assert np.isnan(got[1:3]).all()
    np.testing.assert_array_equal(got[3], got[0])


def test_boxes_leave_the_frame_nowhere_and_zeros_are_absent(boxes):
    frame = {"hand_dets": detections([-10, 0, 700, 36, 0.2], [0, 0, 0, 0, 0.9]), "obj_dets": np.zeros((0, 5))}
    got = boxes({1.0: {"info": INFO, 0: frame}})(clip(1))
    np.testing.assert_allclose(got[0, 0], [0, 0, 1, 0.1])
    assert np.isnan(got[0, 1:]).all()


@pytest.mark.parametrize(("start", "there"), [(1.0004, True), (0.9991, True), (1.0009, True), (1.0021, False)])
def test_the_start_is_found_to_a_thousandth(start, there, boxes):
    store = boxes({1.0: {"info": INFO, 0: {"hand_dets": None, "obj_dets": None}}})
    assert (store(clip(start)) is not None) == there


def test_files_are_by_600_seconds(boxes):
    entry = {"info": INFO, 0: {"hand_dets": None, "obj_dets": None}}
    boxes({599.9: entry}, chunk=0)
    store = boxes({600.0: entry}, chunk=1)
    assert store(clip(599.9)) is not None
    assert store(clip(600.0)) is not None
    assert store(clip(1200.0)) is None


@pytest.mark.parametrize(
    "entry",
    [
        {0: {"hand_dets": None}},
        {"info": {"height": 0, "width": 640}},
        {"info": INFO, 0: {"hand_dets": np.zeros((2, 4))}},
        {"info": INFO, 0: {"hand_dets": np.zeros(5)}},
        {"info": INFO, 0: None},
        7,
    ],
)
def test_another_content_is_an_error_that_names_file_and_clip(entry, boxes):
    with pytest.raises(UserError, match=r"0\.handobj\.pkl, clip at 1 s: not hand and object boxes"):
        boxes({1.0: entry})(clip(1))


def test_another_file_is_an_error(boxes, tmp_path):
    with pytest.raises(UserError, match="holds a list"):
        boxes([1])(clip(1))
    (tmp_path / "u" / "1.handobj.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UserError, match=r"names os\.system"):
        HandObjectBoxes(root=tmp_path)(clip(601))


TAXONOMY = (
    ("cup", "mug"),  # 0 is a noun like any other
    ("chopping board", "board"),
    ("hand", "palm", "left hand"),
    ("knife",),
    ("table", "table top"),
    ("onion",),
)


@pytest.mark.parametrize(
    ("text", "tags", "expected"),
    [
        ("#C C picks the cup", (0,), [0]),
        ("#C C picks cups, with his left hand.", (0, 2), [0]),
        ("#C C puts the knife on the chopping boards", (3, 1), [1, 3]),
        ("#C C moves the board with the palm", (1, 2), [1, 2]),
        ("#C C cuts the onion", (), []),
        ("#C C cuts the onion", (3,), []),
        ("#C C lifts a mug and a cup", (0,), [0]),
        ("#C C takes cup knife onion board table", (0, 1, 3, 4, 5), [0, 3, 1, 4]),
        ("", (0,), []),
    ],
)
def test_nouns_that_a_narration_names(text, tags, expected):
    nouns = narration_nouns(text, tags, TAXONOMY)
    assert nouns.tolist() == expected + [PADDING] * (4 - len(expected))


def test_an_unknown_tag_is_an_error():
    with pytest.raises(UserError, match=r"\[6\].*the taxonomy has 0\.\.5"):
        narration_nouns("#C C picks the cup", [6], TAXONOMY)


def test_the_taxonomy_is_a_list_literal_a_row(tmp_path):
    path = tmp_path / "narration_noun_taxonomy.csv"
    path.write_text("label,group\ncup_(cup),\"['cup', 'mug']\"\nknife,\"['knife']\"\n")
    assert read_taxonomy(path) == (("cup", "mug"), ("knife",))
    path.write_text("label,group\ncup,print('x')\n")
    with pytest.raises(UserError, match="row 2, column group: \"print\\('x'\\)\" is not a list of strings"):
        read_taxonomy(path)
