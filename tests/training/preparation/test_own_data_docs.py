"""docs/own_data.md does what it says: its commands and its code run, in order, in an empty folder."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from training.command import pretrain_main
from training.data.own import COLUMNS
from training.evaluation.command import evaluate_main
from training.preparation.command import prepare_main
from training.preparation.detectors import TableDetector

PAGE = Path(__file__).resolve().parents[3] / "docs" / "own_data.md"
PROGRAMS = {"prepare": prepare_main, "pretrain": pretrain_main, "evaluate": evaluate_main}
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.S)


@pytest.mark.slow
def test_commands_and_code_of_the_page(tmp_path, monkeypatch, capsys):
    pytest.importorskip("spacy")
    monkeypatch.chdir(tmp_path)
    ran = 0
    for kind, text in BLOCK.findall(PAGE.read_text()):
        if kind == "python":
            exec(text, {})
            printed = capsys.readouterr().out
            assert "(4, 144, 192, 3)" in printed
            assert "world_3" in printed
            ran += 1
        for program, line in re.findall(r"^\$ python training/(\w+)\.py (.*)$", text, re.M):
            assert PROGRAMS[program](shlex.split(line)) == 0, line
            ran += 1
    assert ran == 11
    scores = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert scores["inter"] > 40  # the shipped weights know this world; chance is 20
    assert scores["noun_miou"] > scores["trivial_centre_box"]
    before, after = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("scores", "finetuned"))
    assert after["scores"]["inter"] > 40
    assert after["scores"] != before["scores"]
    weights = json.loads((tmp_path / "runs" / "own" / "weights.json").read_text())["config"]
    nouns = (tmp_path / "own" / "nouns.txt").read_text().splitlines()
    assert set(weights["vocabulary"]["nouns"]) == {*nouns, "hand"}
    assert {path.name for path in (tmp_path / "own").iterdir()} == {
        "clips.csv", "nouns.txt", "verbs.txt", "videos", "boxes", "own.json",
    }  # fmt: skip


def test_columns_on_the_page_are_those_of_the_program():
    page = PAGE.read_text()
    assert ",".join(TableDetector.COLUMNS) in page.replace("\n", "")
    assert ", ".join(COLUMNS) in page


def test_the_example_csv_of_the_page_is_read(tmp_path):
    from training.preparation.narration_files import read_own_csv

    text = next(text for kind, text in BLOCK.findall(PAGE.read_text()) if kind == "csv")
    (tmp_path / "n.csv").write_text(text)
    table, skips = read_own_csv(tmp_path / "n.csv")
    assert [(clip.video, clip.start, clip.end) for clip in table] == [
        ("kitchen_1", 0.5, 3.2), ("kitchen_1", 3.2, 8.0), ("garden", 65.0, 69.0),
    ]  # fmt: skip
    assert not skips.counts
