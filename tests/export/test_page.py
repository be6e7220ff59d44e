"""docs/export.md says what the results say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from export.page import PAGE, PROSE, RESULTS, main, page
from henasy_stream.errors import UserError


def test_the_page_is_in_step_with_prose_and_results() -> None:
    made = page(PROSE.read_text(encoding="utf-8"), RESULTS)
    assert PAGE.read_text(encoding="utf-8") == made, "write it again: python export/page.py"
    assert main(["--check"]) == 0


def test_a_result_that_changed_changes_the_page(tmp_path: Path) -> None:
    graph = {"megabytes": 1.5, "operators": 1700, "steps": 9, "worst": {"x": 2e-6}, "flips": 0, "rollout": {}}
    half = {"error": 0.0017, "tokens": 2000, "flips": 5}
    found = {"one fp16": {"graphs": {"window": graph}, "half": half}}
    (tmp_path / "a.json").write_text(json.dumps(found))
    made = page("before\n{{parity a.json}}\n{{assignments a.json}}\nafter", tmp_path)
    assert "| one | window | fp16 | 1.5 | 1,700 | 9 | 2.0e-06 | 0 | – |" in made
    assert "| one | 1.7e-03 | 2,000 | 5 | 0.25% |" in made
    assert made.endswith("\nafter")


def test_what_was_skipped_or_not_run_or_refused_is_said(tmp_path: Path) -> None:
    built = {"bundle": "one", "graph": "a.onnx", "precision": "fp32", "layers": 5, "megabytes": 2.0, "seconds": 1.0}
    rows = [
        built | {"architecture": "SM86"},
        built | {"architecture": "SM89", "seconds": 3.5},
        {"bundle": "control", "graph": "control.onnx", "architecture": "SM86", "error": "no operator"},
        {"tool": "tensorrt_rtx", "skipped": "it is not there"},
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    made = page("{{builds rows.json}}\n{{runtimes none.json}}", tmp_path)
    assert "| one | a | fp32 | SM86, SM89 | – | 5 | 2 | 1 to 3.5 |" in made
    assert "| control | control | – | – | SM86 | – | – | – |" in made
    assert "*Skipped: it is not there.*" in made
    assert "*Not run yet: `docs/results/none.json` does not exist.*" in made


def test_a_table_that_nobody_makes_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no table 'poem', only parity"):
        page("{{poem a.json}}", tmp_path)
