"""Every Python example of the README and the documentation runs against a real node, and every world command starts.

An example passes when it ends without an error, or, if it is a loop without end, when it has printed three lines and
nothing has gone wrong.
"""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.life.node import REAL, Node

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
TESTED_ELSEWHERE = {
    "extend.md": "tests/training/test_extend_docs.py",
    "own_data.md": "tests/training/preparation/test_own_data_docs.py",
}
FRAGMENTS = {
    "streaming.md": """
        import henasy_stream as hs
        engine = hs.Engine(hs.load("demo"), hs.StreamConfig())
        state = engine.initial_state()
        with hs.open_source("world?size=160x120") as source:
            frame = next(iter(source))
    """,
    "detect(": "def detect(picture): return [('cup', [1.0, 2.0, 30.0, 40.0], 0.9)]",
}
"""What goes before an example that is a part of a program, by its page or by a word in it."""

PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"^(?:\$ )?python -m henasy_stream\.live (--source world[^#\n]*)", re.MULTILINE)


def examples(pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    """Page and text of everything that the pattern finds."""
    return [
        (page.name, text)
        for page in PAGES
        if page.name not in TESTED_ELSEWHERE
        for text in pattern.findall(page.read_text("utf-8").replace("\\\n", " "))
    ]


def with_free_ports(text: str) -> tuple[str, dict[str, str]]:
    """The text with other ports than the documented ones, and which."""
    with socket.socket() as a, socket.socket() as b, socket.socket() as c:
        for one in (a, b, c):
            one.bind(("127.0.0.1", 0))
        ports = {name: str(s.getsockname()[1]) for name, s in zip(("5560", "5561", "5562"), (a, b, c), strict=True)}
    return re.sub(r"(?<=:)(5560|5561|5562)\b", lambda found: ports[found[0]], text), ports


def name(value: str) -> str:
    return value if value.endswith(".md") else ""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Its ports: it publishes all there is and can be asked."""
    arguments, ports = with_free_ports("--publish zmq://127.0.0.1:5560 --control zmq://127.0.0.1:5562")
    running = Node(
        tmp_path_factory.mktemp("node"),
        *("--source", "world?size=320x240&fps=10", "--queries", "cup", "--max-fps", "10", "--publish-frames"),
        *arguments.split(),
        module=REAL,
    )
    running.wait_tracks(1, timeout_s=60)
    yield ports
    running.kill()


@pytest.mark.parametrize(("page", "code"), examples(PYTHON), ids=name)
def test_an_example_runs(page, code, node, tmp_path):
    before = FRAGMENTS.get(page, "") + "".join(v for word, v in FRAGMENTS.items() if word in code)
    program = textwrap.dedent(before) + "\n" + code
    for documented, taken in node.items():
        program = program.replace(f":{documented}", f":{taken}")
    path, out, err = (tmp_path / name for name in ("example.py", "out", "err"))
    path.write_text(program)
    with out.open("wb") as o, err.open("wb") as e:
        process = subprocess.Popen([sys.executable, "-u", str(path)], cwd=tmp_path, stdout=o, stderr=e)
    endless = "while True" in code or "subscribe(" in code
    lines = 3 if "print(" in code else 0
    try:
        if endless:
            deadline = time.monotonic() + 60
            while process.poll() is None and out.read_bytes().count(b"\n") < lines and time.monotonic() < deadline:
                time.sleep(0.1)
            time.sleep(0 if lines else 5)
            assert process.poll() is None, err.read_text()
            assert out.read_bytes().count(b"\n") >= lines, err.read_text()
        else:
            assert process.wait(60) == 0, err.read_text()
    finally:
        process.kill()
        process.wait(10)
    assert "Traceback" not in err.read_text()


@pytest.mark.parametrize(("page", "command"), examples(COMMAND), ids=name)
def test_a_world_command_runs(page, command, tmp_path):
    arguments = shlex.split(with_free_ports(command)[0].strip())
    if "--view" in arguments:
        arguments += ["--view-address", "0"]
    done = subprocess.run(
        [sys.executable, "-m", REAL, *arguments, "--headless", "--max-frames", "20"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_what_is_tested_elsewhere_is():
    for page, test in TESTED_ELSEWHERE.items():
        assert page in (ROOT / test).read_text("utf-8")
