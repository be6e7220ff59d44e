from __future__ import annotations

import json
import sys
from types import ModuleType

from benchmarks import Result, __main__


def test_all_modules_are_found():
    assert {"memory", "stream"} <= set(__main__.modules())


def test_one_that_fails_does_not_hide_the_others(monkeypatch, tmp_path, capsys):
    good, bad = ModuleType("benchmarks.good"), ModuleType("benchmarks.bad")
    good.run = lambda: iter([Result(name="speed", value=12.345, unit="m/s", note="downhill")])  # type: ignore[attr-defined]
    bad.run = lambda: 1 / 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "benchmarks.good", good)
    monkeypatch.setitem(sys.modules, "benchmarks.bad", bad)
    monkeypatch.setattr(__main__, "modules", lambda: ["bad", "good"])
    assert __main__.main(["--json", str(tmp_path / "b.json")]) == 1
    said = capsys.readouterr()
    assert "12.35" in said.out
    assert "bad failed: ZeroDivisionError" in said.err
    written = json.loads((tmp_path / "b.json").read_text())
    assert written["results"] == {"good": [{"name": "speed", "value": 12.345, "unit": "m/s", "note": "downhill"}]}
    assert __main__.main(["good"]) == 0


def test_an_unknown_module_is_a_mistake(capsys):
    assert __main__.main(["straem"]) == 2
    assert "no benchmark straem" in capsys.readouterr().err
