from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest

from henasy_stream.errors import UserError
from training.data.clip_reader import read_clip
from training.data.own import read_own
from training.preparation.chunking import ChunkSettings
from training.preparation.detectors import TableDetector
from training.preparation.narration_files import read_own_csv
from training.preparation.own import OwnSettings, hold_out, prepare_own

pytest.importorskip("spacy")

SETTINGS = OwnSettings(chunks=ChunkSettings(layout="avion", seconds=5))
HEADER = "video,start,end,narration\n"


@pytest.fixture(scope="module")
def own(example, tmp_path_factory):
    out = tmp_path_factory.mktemp("own")
    report = prepare_own(
        example / "videos", example / "narrations.csv", out / "own", SETTINGS, cache=out / "c.sqlite",
        detector=TableDetector(example / "boxes.csv"), stage=lambda name, total: lambda amount: None,
    )  # fmt: skip
    return out / "own", report


def prepare(example, tmp_path, silent, narrations, settings=SETTINGS):
    (tmp_path / "n.csv").write_text(narrations)
    report = prepare_own(
        example / "videos", tmp_path / "n.csv", tmp_path / "own", settings, cache=tmp_path / "c.sqlite", stage=silent
    )
    return read_own(tmp_path / "own"), report


def test_every_narration_becomes_a_clip_with_nouns_verbs_phrases_and_boxes(example, own):
    data = read_own(own[0])
    told = list(csv.DictReader((example / "narrations.csv").open()))
    assert [clip.text for clip in data.clips] == [row["narration"] for row in told]
    assert [clip.start for clip in data.clips] == [float(row["start"]) for row in told]
    for clip, phrases in zip(data.clips, data.phrases, strict=True):
        assert [data.verbs[verb] for verb in clip.verbs] == [phrase.split()[0] for phrase in phrases]
        assert clip.nouns
        assert all(data.nouns[noun] in clip.text for noun in clip.nouns)
        assert data.boxes is not None
        boxes = data.boxes(clip)
        assert boxes is not None
        assert boxes.shape == (4, 4, 4)
        assert np.isfinite(boxes).any()
        assert read_clip(data.store(report=lambda line: None), clip, 4).shape == (4, 64, 96, 3)


def test_whole_videos_are_held_out_the_same_ones_every_time(own):
    data = read_own(own[0])
    held = {data.clips[int(row)].video for row in data.rows("heldout")}
    kept = {data.clips[int(row)].video for row in data.rows("train")}
    assert held == set(own[1].heldout) == hold_out(["world_0", "world_1", "world_2"], 0.2, 0)
    assert held
    assert kept
    assert not held & kept
    assert len(data.rows("heldout")) == own[1].heldout_clips


def test_how_many_videos_are_held_out():
    videos = [f"v{k}" for k in range(20)]
    assert len(hold_out(videos, 0.25, 0)) == 5
    assert hold_out(videos, 0, 0) == frozenset()
    assert len(hold_out(videos, 0.001, 0)) == 1
    assert len(hold_out(videos, 0.999, 0)) == 19
    assert hold_out(["only"], 0.5, 0) == frozenset()
    assert hold_out(videos, 0.25, 0) != hold_out(videos, 0.25, 1)
    assert len(hold_out(videos[:19], 0.25, 0) & hold_out(videos, 0.25, 0)) >= 4


def test_a_second_run_changes_nothing_and_does_nothing_again(example, own, silent):
    root, _ = own
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != "own.json"}
    report = prepare_own(
        example / "videos", example / "narrations.csv", root, SETTINGS, cache=root.parent / "c.sqlite",
        detector=TableDetector(example / "boxes.csv"), stage=silent,
    )  # fmt: skip
    assert report.boxes is not None
    assert (report.chunks.kept, report.verbs.cached, report.boxes.kept) == (3, report.verbs.texts, report.clips)
    assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != "own.json"}


def test_what_cannot_be_used_is_left_out_and_counted(example, tmp_path, silent):
    rows = [
        "world_0,1,3,#C C picks a cup",
        "world_0.mp4,0:00:05,00:20,#C C wipes the pan and drops it",
        "world_1,-1,2,#C C looks around",
        "world_1,3,1,backwards",
        "world_1,nan,1,no start",
        "world_1,,1,no start either",
        "world_2,1,2,",
        "world_2,1,2",
        "world_2,100,102,too late",
        "gone,1,2,#C C picks a cup",
        '"world_2",2,3,"#C C says ""hi, you"" to man X"',
    ]
    data, report = prepare(example, tmp_path, silent, HEADER + "\n".join(rows))
    assert [(c.video, c.start, c.end) for c in data.clips] == [
        ("world_0", 1, 3), ("world_0", 5, 8), ("world_1", 0, 2), ("world_2", 2, 3),
    ]  # fmt: skip
    assert data.phrases[1] == ("wiping the pan", "dropping it")
    assert data.boxes is None
    remarks = " | ".join(report.remarks)
    for said in (
        "1 × end before start (first: row 5: 3-1 s)", "2 × start or end is not a finite number (first: row 6)",
        "1 × no narration (first: row 8)", "1 × wrong number of cells", "1 × start below 0 set to 0 (first: row 4)",
        "1 × starts beyond the video's end", "1 × video not in the folder (first: row 11",
        "1 × end beyond the video set to the video's end",
    ):  # fmt: skip
        assert said in remarks
    assert report.without_noun == sum(not clip.nouns for clip in data.clips)


def test_nouns_of_a_taxonomy(example, tmp_path, silent):
    taxonomy = tmp_path / "t.csv"
    taxonomy.write_text("label,group\ncup,\"['cup', 'mug']\"\npan,\"['pan', 'frying_pan']\"\n")
    settings = OwnSettings(taxonomy=taxonomy, heldout=0)
    rows = "world_0,1,3,#C C picks a mug\nworld_1,1,3,#C C lifts the frying pan and the cup\n"
    data, _ = prepare(example, tmp_path, silent, HEADER + rows, settings)
    assert data.nouns == ("cup", "pan")
    assert [clip.nouns for clip in data.clips] == [(0,), (1, 0)]
    assert not data.heldout.any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video;start;end;narration\na;1;2;x\n", "columns are separated by semicolons, expected commas"),
        ("video\tstart\tend\tnarration\n", "separated by tabs"),
        ("video,start,end\na,1,2\n", "no column narration"),
        ("", "no column video"),
        (HEADER, "no usable row"),
        (HEADER + "world_0,one,2,x\n", "row 2, column start: 'one' is not a number"),
        (HEADER + "world_0,1:75,2,x\n", "row 2, column start: '1:75' is neither seconds nor HH:MM:SS"),
        (HEADER + "world_0,5,2,x\n", "no usable row.*end before start"),
        (HEADER + "elsewhere,1,2,x\n", "none of its 1 videos .* is in"),
        (HEADER + "world_0,50,52,x\n", "no clip is left.*beyond the video's end"),
    ],
)
def test_mistakes_in_the_csv_are_named(example, tmp_path, silent, text, message):
    with pytest.raises(UserError, match=message) as caught:
        prepare(example, tmp_path, silent, text)
    assert "\n" not in str(caught.value)


def test_a_file_in_another_encoding_is_named(tmp_path):
    path = tmp_path / "n.csv"
    path.write_bytes(HEADER.encode() + "a,1,2,schält\n".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8"):
        read_own_csv(path)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("clips.csv", "heldout", "test", "column split: 'test'; it must be train or heldout"),
        ("clips.csv", ",train", ",heldout", "is in both splits"),
        ("clips.csv", "['", "[exit(", "column phrases"),
        ("clips.csv", "video,", "clip,", "no column video"),
        ("own.json", '"version": 1', '"version": 9', "not of version 1"),
        ("own.json", "{", "", "not JSON"),
    ],
)
def test_a_folder_that_was_edited_wrongly_is_named(own, tmp_path, file, old, new, message):
    shutil.copytree(own[0], tmp_path / "own")
    path = tmp_path / "own" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        read_own(tmp_path / "own")


def test_missing_pieces_are_named(own, tmp_path):
    with pytest.raises(UserError, match=r"no own\.json there; make the folder"):
        read_own(tmp_path)
    shutil.copytree(own[0], tmp_path / "own")
    (tmp_path / "own" / "nouns.txt").write_text("only one\n")
    with pytest.raises(UserError, match=r"column nouns: \d is not in the taxonomy"):
        read_own(tmp_path / "own")
    data = read_own(own[0])
    video = data.clips[0].video
    shutil.copytree(own[0] / "boxes", tmp_path / "boxes")
    (tmp_path / "boxes" / f"{video}.npz").write_text("broken")
    from training.data.own import OwnBoxes

    with pytest.raises(UserError, match="not a file of boxes"):
        OwnBoxes(root=tmp_path / "boxes")(data.clips[0])


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(UserError, match="--heldout"):
        OwnSettings(heldout=share)
