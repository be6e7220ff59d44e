"""Colour at a terminal that wants it, and nowhere else."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9[0-7]|10[0-7])(?:;\d+)*m")
COMMANDS = {
    "live": ["-m", "tests.runtime.fake_live", "--source", "world?size=160x120", "--headless", "--max-frames", "20"],
    "pretrain": ["training/pretrain.py", "--batch", "many"],
}
SLOW = pytest.mark.slow
AT_A_TERMINAL = [
    pytest.param("live", False),  # emphasises, without colours
    pytest.param("pretrain", True, marks=SLOW),
]


def environment(**variables: str) -> dict[str, str]:
    # The last of them is what `pretrain.py` sets for tyro, in this process when another test called it.
    ours = ("NO_COLOR", "FORCE_COLOR", "PYTHON_TYRO_ANSI_CODES")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, "TERM": "xterm-256color", "COLUMNS": "120", **variables}


def at_a_terminal(command: str, **variables: str) -> str:
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(ROOT)
        os.execve(sys.executable, [sys.executable, *COMMANDS[command]], environment(**variables))
    shown = b""
    try:
        while read := os.read(terminal, 65536):
            shown += read
    except OSError:  # what Linux says at the end
        pass
    os.waitpid(child, 0)
    os.close(terminal)
    return shown.decode(errors="replace")


@pytest.mark.parametrize(("command", "coloured"), AT_A_TERMINAL)
def test_no_colour_where_it_is_not_wanted(command, coloured):
    plain = at_a_terminal(command)
    assert "\x1b[" in plain
    assert bool(COLOUR.search(plain)) == coloured
    wanted = at_a_terminal(command, NO_COLOR="1")
    assert wanted
    assert not COLOUR.search(wanted)


@pytest.mark.parametrize("command", ["live", pytest.param("pretrain", marks=SLOW)])
def test_a_file_gets_no_escapes_at_all(command):
    done = subprocess.run(
        [sys.executable, *COMMANDS[command]], capture_output=True, text=True, env=environment(), cwd=ROOT, timeout=60
    )
    assert done.stderr
    assert "\x1b" not in done.stdout + done.stderr
