"""What the README shows is what the program does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import henasy_stream as hs
from henasy_stream.live import build_parser, parse
from tests.runtime.parts import fake_model
from training import options
from training.evaluation.arguments import parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NAVIGATION = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:")[1]
PAGES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
COMMANDS = [
    command.replace("\\\n", " ")
    for text in PAGES.values()
    for command in re.findall(r"^(?:\$ )?python -m henasy_stream\.live (--(?:\\\n|[^#\n])*)", text, re.MULTILINE)
]


def test_every_option_of_the_table_exists():
    table = README.split("\n## Options")[1].split("\n## ")[0]
    named = set(re.findall(r"`(--[a-z-]+)", table))
    assert len(named) > 8
    assert named <= set(build_parser().options())


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_shown_is_understood(line):
    assert parse(shlex.split(line)).uri


def test_commands_of_the_node_are_written_out_in_full():
    for path, text in PAGES.items():
        assert not re.findall(r"^(?:\$ )?live --.*", text, re.MULTILINE), path.name


def test_the_loop_runs(monkeypatch, capsys):
    monkeypatch.setattr(hs, "load", lambda *args, **kwargs: fake_model())
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert "hs.load" in examples[1]
    names: dict[str, object] = {}
    exec(examples[1], names)
    assert len(capsys.readouterr().out.splitlines()) > 60
    assert names["picture"].shape == (720, 1280, 3)  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_headings_that_are_linked_are_there(page):
    for target, heading in re.findall(r"\]\(([^)#\s]*)#?([^)]*)\)", PAGES[page]):
        if "://" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, heading


def test_the_site_has_every_page():
    assert {page.name for page in (ROOT / "docs").glob("*.md")} <= set(re.findall(r"\w+\.md", NAVIGATION))
    assert "](docs/index.md)" in README


def test_every_training_command_is_understood():
    block = README.split("**3. Training**")[1].split("```")[1]
    lines = [line.partition("#")[0].split() for line in block.splitlines()[1:] if line.startswith("python")]
    assert len(lines) >= 4
    for _, script, *arguments in lines:
        if script == "training/pretrain.py":
            assert options.parse(arguments).recipe.name
        else:
            assert parser().parse_args(arguments).command


def test_targets_of_make_are_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {f"{name}:" for name in re.findall(r"^make (\w+)", README, re.MULTILINE)} <= set(makefile.split())
