from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from training.data.egoclip import read_egoclip
from training.data.hand_object import PADDING
from training.preparation.command import prepare_main
from training.preparation.narration_files import read_clips
from training.preparation.row_files import load_rows

SCRIPT = Path(__file__).resolve().parents[3] / "training" / "prepare.py"
EGOCLIP = (
    "clip_idx\tvideo_uid\tvideo_dur\tnarration_source\tnarration_ind\tnarration_time\tclip_start\tclip_end\tclip_text\t"
    "tag_verb\ttag_noun\n"
    "0\ta\t60\tp\t0\t1.0\t0.5\t1.5\t#C C picks a cup and washes the bowls\t[1]\t[0, 1]\n"
    "1\ta\t60\tp\t1\t2.0\t2.5\t1.5\tbackwards\t[1]\t[0]\n"
    "2\ta\t60\tp\t2\t3.0\t2.5\t3.5\t#C C picks a cup\t[1]\t[1]\n"
)


def test_help_from_any_folder(tmp_path):
    arguments = [sys.executable, str(SCRIPT), "--help"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=True)
    for command in ("chunks", "nouns", "verbs", "boxes", "own", "example", "doctor"):
        assert command in done.stdout


def test_nouns_and_verbs_of_egoclip_stand_beside_its_rows(tmp_path, capsys):
    pytest.importorskip("spacy")
    source = tmp_path / "egoclip.csv"
    source.write_text(EGOCLIP)
    taxonomy = tmp_path / "t.csv"
    taxonomy.write_text("label,group\ncup,['cup']\nbowl,['bowl']\n")
    cache = ["--cache", str(tmp_path / "c.sqlite")]
    assert prepare_main(["nouns", str(source), "--out", str(tmp_path / "o"), "--taxonomy", str(taxonomy)]) == 0
    assert prepare_main(["verbs", str(source), "--out", str(tmp_path / "o"), *cache]) == 0
    assert "1 × end before start" in capsys.readouterr().out
    table, _ = read_egoclip(source)
    nouns, words = load_rows(tmp_path / "o", "nouns", table)
    # The second clip says cup, but is tagged with bowl alone.
    assert nouns.tolist() == [[0, 1, PADDING, PADDING], [PADDING] * 4]
    assert words == ("cup", "bowl")
    verbs, phrases = load_rows(tmp_path / "o", "verbs", table)
    assert phrases == ("picking a cup", "washing the bowls")
    np.testing.assert_array_equal(verbs, [[0, 1], [0, PADDING]])


def test_a_list_of_nouns_is_made_without_a_taxonomy(tmp_path):
    pytest.importorskip("spacy")
    source = tmp_path / "n.csv"
    source.write_text(
        "video,start,end,narration\na,1,2,#C C picks a cup\na,2,3,#C C puts the cup on a chopping board\n"
    )
    command = ["nouns", str(source), "--out", str(tmp_path / "o"), "--json", str(tmp_path / "r.json")]
    assert prepare_main(command) == 0
    array, words = load_rows(tmp_path / "o", "nouns", read_clips(source)[0])
    assert words == ("cup", "chopping board")
    assert array[:, :2].tolist() == [[0, PADDING], [0, 1]]
    assert json.loads((tmp_path / "r.json").read_text())["words"] == 2
    assert prepare_main([*command, "--min-count", "2"]) == 0
    assert load_rows(tmp_path / "o", "nouns", read_clips(source)[0])[1] == ("cup",)


def test_boxes_of_any_list_of_clips(example, tmp_path, capsys):
    options = ["--videos", str(example / "videos"), "--detections", str(example / "boxes.csv")]
    assert prepare_main(["boxes", str(example / "narrations.csv"), "--out", str(tmp_path), *options]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["world_0.npz", "world_1.npz", "world_2.npz"]
    assert "unreadable" in capsys.readouterr().out


def test_unreadable_files_end_with_1_and_are_named(example, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.mp4").write_text("no video")
    assert prepare_main(["chunks", str(tmp_path / "in"), str(tmp_path / "out")]) == 1
    assert "bad.mp4: Invalid data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chunks", "nowhere", "out"], "nowhere: no such folder"),
        (["chunks", ".", "out", "--layout", "epic"], "--layout epic: one of"),
        (["nouns", "nowhere.csv", "--out", "o"], "nowhere.csv: No such file"),
        (["verbs", "nowhere.pkl", "--out", "o"], "nowhere.pkl: No such file"),
        (["doctor", "nowhere"], "nowhere: no such folder"),
        (["own", ".", "n.csv", "o", "--heldout", "2"], "--heldout 2: give a share"),
        (["own", ".", "n.csv", "o", "--objects", "x.onnx"], "--objects goes with --hands"),
        (["own", ".", "n.csv", "o", "--llm", "nowhere"], "--llm nowhere: no config.json there"),
        (["own", ".", "n.csv", "o", "--hands", "nowhere.onnx"], "nowhere.onnx: no such file"),
        (["own", ".", "n.csv", "o", "--detections", "nowhere.csv"], "nowhere.csv: No such file"),
        (["example", "o", "--videos", "0"], "at least one video"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert prepare_main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("prepare: ")
    assert error.count("\n") == 1
    assert message in error


def test_without_spacy_the_extra_is_named(tmp_path, monkeypatch, capsys):
    from training.preparation.parser import load_parser

    load_parser.cache_clear()
    monkeypatch.setitem(sys.modules, "spacy", None)
    (tmp_path / "n.csv").write_text("video,start,end,narration\na,1,2,#C C picks a cup\n")
    assert prepare_main(["verbs", str(tmp_path / "n.csv"), "--out", str(tmp_path / "o")]) == 2
    assert "henasy-stream[train]" in capsys.readouterr().err
    load_parser.cache_clear()
