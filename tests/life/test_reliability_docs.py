from __future__ import annotations

import re

from tests.life.node import ROOT

NAMED = set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", (ROOT / "docs/reliability.md").read_text()))


def test_every_row_names_a_test_that_is_there():
    for file, test in NAMED:
        path = ROOT / "tests" / file if file == "test_live.py" else ROOT / "tests/life" / file
        assert f"\ndef {test}(" in path.read_text(), f"{file}::{test}"


def test_every_test_has_a_row():
    there = {
        (path.name, test)
        for path in (ROOT / "tests/life").glob("test_*.py")
        if path.name != "test_reliability_docs.py"
        for test in re.findall(r"^def (test_\w+)\(", path.read_text(), re.M)
    }
    assert there
    assert there <= NAMED
