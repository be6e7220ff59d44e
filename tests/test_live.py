"""The command line, as its own process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from henasy_stream.live import main

ROOT = Path(__file__).parents[1]


def live(*arguments: str, module: str = "henasy_stream.live", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=ROOT, env={**os.environ, **environment}, check=False
    )


class Running:
    """A node on the endless world with a fake network, watched through its record."""

    def __init__(self, path: Path, *arguments: str) -> None:
        self.path = path
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.runtime.fake_live", "--headless", "--record", str(path), *arguments],
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    @property
    def messages(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def wait_for(self, topic: str, count: int = 1) -> None:
        deadline = time.monotonic() + 30
        while sum(m["topic"] == f"henasy/1/{topic}" for m in self.messages) < count:
            assert time.monotonic() < deadline, f"no {topic}"
            assert self.process.poll() is None, self.process.stderr
            time.sleep(0.02)

    def end(self) -> tuple[int, str]:
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, said


def test_help_reads_like_a_manual_and_comes_at_once():
    started = time.monotonic()
    done = live("--help")
    assert time.monotonic() - started < 2.0  # generous: machines that test are busy
    assert done.returncode == 0
    for part in ("examples:", "source:", "output:", "exit codes:", "--wait-subscriber", "HENASY_CACHE"):
        assert part in done.stdout


def test_version():
    done = live("--version")
    assert done.stdout.startswith("henasy-stream ")
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--sorce", "world"], "did you mean --source?"),
        ([], "neither --camera nor --source"),
        (["--source", "nope.mp4"], "nope.mp4: no such file"),
        (["--source", "world?sed=3"], "did you mean seed?"),
        (["--source", "world", "--weights", "nope.safetensors"], "nope.safetensors"),
        (["--source", "world", "--config", "nope.yaml"], "nope.yaml: no such file"),
        (["--camera", "97"], "97"),
        (["--source", "world", "--camera-size", "640x480"], "options of a camera"),
        (["--source", "world", "--queries", ",".join(map(str, range(33)))], "at most 32"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, expected, capsys):
    assert main([*arguments, *([] if "--headless" in arguments or not arguments else ["--headless"])]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("live: ")
    assert said.err.count("\n") == 1
    assert expected in said.err


def test_the_same_from_the_shell():
    done = live("--source", "nope.mp4")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_debugging_shows_the_traceback():
    done = live("--source", "nope.mp4", HENASY_DEBUG="1")
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_cleanly(tmp_path, number):
    node = Running(tmp_path / "r.jsonl", "--source", "world?size=160x120", "--max-fps", "60")
    node.wait_for("caption", 3)
    node.process.send_signal(number)
    code, said = node.end()
    assert code == 0
    assert "Traceback" not in said
    assert "ended" in said
    assert ("Ctrl-C" if number == signal.SIGINT else "SIGTERM") in said
    captions = [m for m in node.messages if m["topic"] == "henasy/1/caption"]
    assert captions[-1]["final"]
    assert node.messages[-1]["state"] == "STOPPING"


def test_a_second_ctrl_c_ends_at_once():
    """Even a loop that never looks whether it shall stop, as a call into a hung driver would not."""
    code = (
        "import time\n"
        "from henasy_stream.runtime.stopping import StopOnSignal\n"
        "with StopOnSignal() as stop:\n"
        "    print('ready', flush=True)\n"
        "    while True: time.sleep(0.05)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == -signal.SIGINT
    process.stdout.close()


def test_a_killed_node_leaves_whole_lines(tmp_path):
    node = Running(tmp_path / "r.jsonl", "--source", "world?size=160x120", "--max-fps", "60")
    node.wait_for("tracks", 3)
    node.process.kill()
    node.end()
    assert node.path.read_bytes().endswith(b"\n")
    assert node.messages


def test_ctrl_c_while_starting_and_errors_of_ours_are_one_line(monkeypatch, capsys):
    def ended_by(error: BaseException) -> tuple[int, str]:
        def run(options: object) -> int:
            raise error

        monkeypatch.setattr("henasy_stream.runtime.node.run", run)
        return main(["--source", "world"]), capsys.readouterr().err

    code, said = ended_by(KeyboardInterrupt())
    assert (code, said.count("\n")) == (130, 1)
    code, said = ended_by(RuntimeError("two\nlines"))
    assert (code, said.count("\n")) == (1, 1)
    assert "RuntimeError: two lines" in said
    assert "HENASY_DEBUG=1" in said


def test_henasy_live_is_the_same_command():
    done = live("live", "--sorce", "world", module="henasy_stream")
    assert done.returncode == 2
    assert "did you mean --source?" in done.stderr
    assert "live" in live(module="henasy_stream").stdout
    done = live("lvie", module="henasy_stream")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "did you mean live?" in done.stderr
