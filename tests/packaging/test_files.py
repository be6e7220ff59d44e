"""What stands beside the code and must not fall behind it: citation, container files, their lists."""

from __future__ import annotations

import fnmatch
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import henasy_stream
from henasy_stream.__main__ import COMMANDS
from henasy_stream.live import parse
from henasy_stream.web.address import DEFAULT_PORT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "docker").glob("*/Dockerfile"))


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    content: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return content


def test_the_citation_is_of_this_version_and_names_the_paper(project: dict[str, Any]) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert str(citation["version"]) == henasy_stream.__version__
    assert citation["license"] == project["project"]["license"]
    assert [author["name"] for author in citation["authors"]] == [a["name"] for a in project["project"]["authors"]]
    assert "2406.00307" in citation["references"][0]["url"]


def test_a_container_gets_all_that_the_wheel_is_built_from(project: dict[str, Any]) -> None:
    kept = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    ]  # all else is left out
    assert (ROOT / ".dockerignore").read_text().splitlines()[0] == "**"
    hatch = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [
        "pyproject.toml", project["project"]["readme"], *project["project"]["license-files"], *hatch["packages"],
        *hatch["shared-data"], "constraints.txt",
    ]  # fmt: skip
    for name in needed:
        assert any(name == k or name.startswith(f"{k}/") for k in kept), name
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_a_dockerfile_says_what_nobody_has_tried_and_runs_commands_that_there_are(path: Path) -> None:
    text = path.read_text("utf-8")
    head = text[: text.index("\nARG ")]
    assert "built" in head
    assert "by us" in head
    command = re.search(r'^CMD \["([^"]+)"', text, re.M)
    assert command is not None
    assert command[1] in COMMANDS
    assert f"EXPOSE 5560 5562 {DEFAULT_PORT}\n" in text
    assert re.search(r"^USER 1000$", text, re.M)
    for example in re.findall(r"live (--.+)", head.replace("\\\n#", "")):
        parse(example.split())


def test_hadolint_knows_every_dockerfile() -> None:
    assert DOCKERFILES
    command = re.search(r"hadolint .*?(docker/\S+)", (ROOT / "Makefile").read_text("utf-8"))
    assert command is not None
    assert all(fnmatch.fnmatch(str(path.relative_to(ROOT)), command[1]) for path in DOCKERFILES)
