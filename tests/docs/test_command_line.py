"""docs/command_line.md says what the commands say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from henasy_stream.__main__ import COMMANDS
from henasy_stream.live import parse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/command_line.md").read_text("utf-8")
TABLE = PAGE.split("## Exit codes")[1].split("\n## ")[0]
CODES = ("0", "1", "2", "3", "130")


def documented(command: str) -> set[str]:
    (row,) = re.findall(rf"^\| `{re.escape(command)}` \|(.+)\|$", TABLE, re.M)
    return {code for code, cell in zip(CODES, row.split("|"), strict=True) if cell.strip() != "–"}


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", *arguments, "--help"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=ROOT).stdout


@pytest.mark.parametrize("command", [*COMMANDS, "client"])
def test_help_lists_the_exit_codes_of_the_table(command: str) -> None:
    arguments = ("henasy_stream.client",) if command == "client" else ("henasy_stream", command)
    codes = re.split(r"exit codes:", run(*arguments), flags=re.I)[1].split("environment:")[0]
    assert set(re.findall(r"(?<!-)\b(0|1|2|3|130)\b", codes)) == documented(command)


def test_scripts_say_of_themselves_what_the_table_says() -> None:
    homes = {
        "training/pretrain.py": "training/command.py",
        "training/prepare.py": "training/preparation/command.py",
        "training/evaluate.py": "training/evaluation/command.py",
        "training/extract.py": "training/extraction/command.py",
        "training/ablation.py": "training/ablations/command.py",
        "export/export.py": "export/export.py",
    }
    for script, home in homes.items():
        said = re.search(r'    """(0 .*130.*)\n?', (ROOT / home).read_text("utf-8"))
        assert said is not None, home
        assert set(re.findall(r"\b(0|1|2|3|130)\b", said[1])) == documented(script), script
    assert set(re.findall(r"^\| `((?:training|export)/\S+)`", TABLE, re.M)) == set(homes)


def test_the_variables_are_ones_that_something_reads() -> None:
    for name in re.findall(r"^\| `([A-Z_]+)` ", PAGE, re.M):
        used = name in ("NO_COLOR", "OMP_NUM_THREADS")  # by the libraries; tests/test_colours.py
        assert used or any(name in path.read_text("utf-8") for path in (ROOT / "henasy_stream").rglob("*.py")), name


def test_commands_shown_are_understood() -> None:
    shown = re.findall(r"^(?:sudo )?henasy live ((?:\\\n|[^#\n|])*)", PAGE, re.M)
    assert shown
    for line in shown:
        parse(line.replace("--config node.yaml", "").split())
