from __future__ import annotations

import math

import pytest

from henasy_stream.errors import UserError
from training.data.egtea import read_actions, read_split

CLIP = "OP01-R01-PastaSalad-1002316-1004005-F024051-F024101"


def write(path, text):
    path.write_text(text)
    return path


def test_actions_and_clips(tmp_path):
    actions = read_actions(write(tmp_path / "action_idx.txt", "Open Fridge 2\nCut_Bell_Pepper 1\n\n"))
    assert actions == {1: "cut bell pepper", 2: "open fridge"}
    clips = read_split(write(tmp_path / "test_split1.txt", f"{CLIP} 2 5 16\n{CLIP} 1 5 16\n"), actions)
    assert [one.action for one in clips] == [1, 0]
    clip = clips[0].clip
    assert clip.video == f"OP01-R01-PastaSalad/{CLIP}"
    assert (clip.start, clip.end, clip.text, clip.key) == (0, math.inf, "open fridge", CLIP)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("Open\n", "row 1: 'Open'"), ("7\n", "row 1: '7'"), ("Open 1\nCut 1\n", "row 2: index 1 is given twice")],
)
def test_bad_actions(text, reason, tmp_path):
    with pytest.raises(UserError, match=reason):
        read_actions(write(tmp_path / "action_idx.txt", text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{CLIP}\n", "row 1: .* expected a clip and the index"),
        (f"{CLIP} one\n", "row 1: .* expected a clip and the index"),
        (f"{CLIP} 1\n{CLIP} 107\n", "row 2: action 107 is not among the 1 of the list"),
        ("clip 1\n", "row 1: clip 'clip', expected dash-separated"),
        ("\n", "no clips"),
    ],
)
def test_bad_splits(text, reason, tmp_path):
    with pytest.raises(UserError, match=reason):
        read_split(write(tmp_path / "test_split1.txt", text), {1: "open"})


def test_files_that_are_not_there_or_no_text(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read_actions(tmp_path / "absent.txt")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        read_actions(tmp_path / "a.txt")
