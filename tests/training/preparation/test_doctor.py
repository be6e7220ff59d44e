from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest

from henasy_stream.errors import UserError
from training.preparation.chunking import ChunkSettings, chunk_videos
from training.preparation.doctor import examine
from training.preparation.video_files import find_videos

COLUMNS = (
    "clip_idx", "video_uid", "video_dur", "narration_source", "narration_ind", "narration_time", "clip_start",
    "clip_end", "clip_text", "tag_verb", "tag_noun",
)  # fmt: skip


def egoclip(path, rows):
    lines = ["\t".join(COLUMNS)]
    for k, (video, start, end) in enumerate(rows):
        lines.append("\t".join(map(str, [k, video, 8.0, "p", k, start, start, end, "#C C picks a cup", "[1]", "[2]"])))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def root(example, tmp_path):
    """A small EgoClip: three videos in chunks of 5 s, boxes for two clips, a taxonomy."""
    root = tmp_path / "data"
    videos = {f"uid{k}": example / "videos" / f"world_{k}.mp4" for k in range(3)}
    chunk_videos(videos, root / "ego4d" / "chunks", ChunkSettings(layout="avion", seconds=5))
    clips = [(f"uid{k}", start, start + 1.5) for k in range(3) for start in (0.5, 5.5)]
    egoclip(root / "annotations" / "egoclip.csv", clips)
    frame = {"hand_dets": np.array([[1, 1, 9, 9, 0.9]]), "obj_dets": None}
    entry = {"info": {"height": 64, "width": 96}, 0: frame, 1: frame, 2: frame, 3: frame}
    for video in ("uid0", "uid1"):
        folder = root / "boxes" / video
        folder.mkdir(parents=True)
        (folder / "0.handobj.pkl").write_bytes(pickle.dumps({0.5: entry}))
    (root / "annotations" / "narration_noun_taxonomy.csv").write_text("label,group\n" + "cup,['cup']\n" * 582)
    return root


def by_item(root):
    return {finding.item: finding for finding in examine(root)}


def test_what_is_there_is_counted_and_what_is_not_is_absent(root):
    found = by_item(root)
    assert found["EgoClip"].status == "mismatch"
    assert "6 clips; 3 of 3 videos, 6 of 6 files that clips start in" in found["EgoClip"].found
    assert "the published file has 3,847,723" in found["EgoClip"].remarks
    assert any("chunks of 5 s" in remark for remark in found["EgoClip"].remarks)
    assert (found["noun taxonomy"].status, found["noun taxonomy"].found) == ("ok", "582 nouns")
    assert found["hand and object boxes"].status == "missing"
    assert found["hand and object boxes"].found.startswith("2 of 6 clips tried have boxes")
    assert found["hand and object boxes"].remarks == ("1 videos have no box file",)
    assert {item for item, finding in found.items() if finding.status == "absent"} == set(found) - {
        "EgoClip", "noun taxonomy", "hand and object boxes",
    }  # fmt: skip


def test_missing_damaged_and_odd_videos_are_named(root, example):
    chunks = root / "ego4d" / "chunks"
    (chunks / "uid0.mp4" / "5.mp4").unlink()
    shutil.rmtree(chunks / "uid1.mp4")
    whole = (chunks / "uid2.mp4" / "5.mp4").read_bytes()
    (chunks / "uid2.mp4" / "5.mp4").write_bytes(whole[: len(whole) // 2])
    finding = by_item(root)["EgoClip"]
    remarks = " | ".join(finding.remarks)
    assert finding.status == "mismatch", finding
    assert "1 videos absent (first: uid1)" in remarks
    assert "1 chunks missing (first: " in remarks
    assert "uid0.mp4/5.mp4" in remarks
    assert "1 of 3 opened files unreadable" in remarks

    small = ChunkSettings(layout="avion", seconds=5, short_side=32)
    chunk_videos({"uid2": example / "videos" / "world_2.mp4"}, chunks, small)
    (chunks / "uid0.mp4" / "5.mp4").write_bytes((chunks / "uid0.mp4" / "0.mp4").read_bytes())
    remarks = " | ".join(by_item(root)["EgoClip"].remarks)
    assert "opened files unlike the others" in remarks


def test_broken_annotations_are_errors_and_the_rest_is_still_examined(root):
    path = root / "annotations" / "egoclip.csv"
    path.write_text(path.read_text().replace("[2]", "__import__('os').getcwd()", 1))
    found = by_item(root)
    assert found["EgoClip"].status == "error"
    assert "row 2, column tag_noun" in found["EgoClip"].remarks[0]
    assert found["noun taxonomy"].status == "ok"


def test_files_that_go_together_are_missed_one_by_one(root):
    (root / "EPIC_100_retrieval_test.csv").touch()
    finding = by_item(root)["EK-100 retrieval"]
    assert finding.status == "missing"
    assert "EPIC_100_retrieval_test_sentence.csv" in finding.remarks[0]


def test_own_data_and_prepared_nouns_are_checked(example, tmp_path, capsys):
    pytest.importorskip("spacy")
    from training.preparation.command import prepare_main

    root = tmp_path / "root"
    shutil.copytree(example, root)
    cache = ["--cache", str(tmp_path / "c.sqlite")]
    boxes = ["--detections", str(root / "boxes.csv")]
    narrations = str(root / "narrations.csv")
    assert prepare_main(["own", str(root / "videos"), narrations, str(root / "own"), *cache, *boxes]) == 0
    assert prepare_main(["nouns", narrations, "--out", str(root / "made")]) == 0
    assert prepare_main(["verbs", narrations, "--out", str(root / "made"), *cache]) == 0
    found = by_item(root)
    assert {found[item].status for item in ("own data", "prepared nouns", "prepared verbs")} == {"ok"}

    (root / "own" / "boxes" / "world_1.npz").unlink()
    with (root / "narrations.csv").open("a") as file:
        file.write("world_0,1,2,one more\n")
    found = by_item(root)
    assert found["own data"].status == "missing"
    assert found["prepared nouns"].status == "error"
    assert "other narrations" in found["prepared nouns"].remarks[0]

    capsys.readouterr()
    report = tmp_path / "r" / "doctor.json"
    assert prepare_main(["doctor", str(root), "--json", str(report)]) == 1
    assert "own data" in capsys.readouterr().out
    states = {entry["item"]: entry["status"] for entry in json.loads(report.read_text())["findings"]}
    assert states["own data"] == "missing"


def test_a_folder_that_is_not_there_is_a_mistake(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        examine(tmp_path / "gone")


def test_find_videos_of_the_example(example):
    assert sorted(find_videos(example / "videos")) == ["world_0", "world_1", "world_2"]
