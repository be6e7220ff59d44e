"""Bars at a terminal, lines elsewhere."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from henasy_stream._progress import Bar
from henasy_stream.runtime.report import Progress, Reporter


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=120)


def log() -> Console:
    return Console(file=io.StringIO(), width=120)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("counted", "done", "total", "expected"),
    [
        ("things", 3, 12, "3/12"),
        ("bytes", 5_000_000, 345_000_000, "5.0/345.0 MB"),
        ("shares", 0.25, 1, "25%"),
        ("time", 0, None, "0:00:0"),
    ],
)
def test_a_bar_at_a_terminal_is_drawn_and_goes_away(counted, done, total, expected):
    console = terminal()
    lines: list[str] = []
    with Bar("converting", lines.append, counted=counted, every_s=0, console=console) as bar:
        bar.show(done, total, "layer 3")
        assert bar.drawn
    assert "converting" in shown(console)
    assert expected in shown(console)
    assert "layer 3" in shown(console)
    assert shown(console).endswith("\x1b[2K")  # the line is erased
    assert lines == []


def test_elsewhere_a_line_comes_now_and_then_and_nothing_is_drawn():
    console = log()
    lines: list[str] = []
    with Bar("building", lines.append, counted="shares", every_s=0.2, console=console) as bar:
        for step in range(60):
            bar.show(step / 60, 1, "tactics")
            time.sleep(0.01)
    assert shown(console) == ""
    assert 1 <= len(lines) <= 4
    assert re.fullmatch(r"\d+% tactics", lines[0])


def test_a_bar_within_a_bar_is_not_drawn_and_says_lines():
    outer, inner = terminal(), terminal()
    lines: list[str] = []
    with Bar("evaluating", console=outer), Bar("loading", lines.append, every_s=0, console=inner) as bar:
        bar.show(1, 2)
        assert not bar.drawn
    assert shown(inner) == ""
    assert lines == ["1 of 2"]
    with Bar("loading", console=inner) as bar:
        assert bar.drawn


def test_few_phrases_are_not_told_and_many_are(monkeypatch):
    console = terminal()
    progress = Progress(Reporter(console))
    for done in (1, 5, 9):
        progress(done, 9)
    assert shown(console) == ""
    monkeypatch.setattr(Progress, "SOON_S", 0.0)
    progress(100, 29_100)
    assert "phrases " in shown(console)
    progress(29_100, 29_100)
    assert "/29100" in shown(console)
    assert shown(console).endswith("\x1b[2K")
    assert "embedded" in shown(console)
    progress(1, 5)  # texts that were added later
    progress.close()
    end = shown(console)
    assert "1/5" in end
    progress(2, 5)  # by a thread that has not heard of it
    progress.close()
    assert shown(console) == end
