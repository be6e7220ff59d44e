"""What the printed scripts make of a Tab, in real shells at a terminal."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from henasy_stream import completion

SETUP = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source henasy.bash"),
    "zsh": (["zsh", "-f", "-i"], "fpath=($PWD $fpath); autoload -U compinit; compinit -u -D"),
}
FILES = {"bash": "henasy.bash", "zsh": "_henasy", "fish": "henasy.fish"}


def installed(shell: str, folder: Path) -> None:
    """Skips where there is no such shell."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine: its completion was not tried")
    (folder / FILES[shell]).write_text(completion.script(shell))
    (folder / "video_of_the_desk.mp4").touch()


def typed(shell: str, folder: Path, keys: str, expected: str) -> str:
    """What a terminal shows once `keys` were typed, up to `expected`."""
    command, setup = SETUP[shell]
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.environ.update(TERM="dumb", PS1="$ ", COLUMNS="200", HISTFILE="")
        os.execvp(command[0], command)
    shown = ""

    def read_until(text: str) -> None:
        nonlocal shown
        deadline = time.monotonic() + 30
        while text not in shown:
            assert time.monotonic() < deadline, f"no {text!r} in {shown!r}"
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 4096).decode(errors="replace")

    try:
        os.write(terminal, f"{setup}; echo rea''dy\n".encode())
        read_until("ready")
        shown = ""
        os.write(terminal, keys.encode())
        read_until(expected)
    finally:
        os.write(terminal, b"\x03exit\n")
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(terminal)
    return shown


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("henasy do\t", "henasy doctor"),
        ("henasy build\t", "henasy build-engine"),
        ("henasy live --list\t", "--list-cameras"),
        ("henasy live --backend on\t", "onnxruntime"),
        ("henasy live --source video_\t", "video_of_the_desk.mp4"),
        ("henasy completion z\t", "completion zsh"),
    ],
)
def test_a_tab_at_a_terminal(shell, keys, expected, tmp_path):
    installed(shell, tmp_path)
    assert expected in typed(shell, tmp_path, keys, expected)


def test_fish(tmp_path):
    installed("fish", tmp_path)

    def offered(line: str) -> set[str]:
        code = f"source henasy.fish; complete -C '{line}'"
        done = subprocess.run(
            ["fish", "--no-config", "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=True
        )
        return {one.split("\t")[0] for one in done.stdout.splitlines()}

    assert {"live", "doctor", "build-engine", "completion"} <= offered("henasy ")
    assert offered("henasy live --list") == {"--list-cameras"}
    assert "onnxruntime" in offered("henasy live --backend ")
    assert "video_of_the_desk.mp4" in offered("henasy live --source ")
    assert "--list-cameras" not in offered("henasy doctor --")


def test_a_shell_that_is_not_known_is_one_line(capsys):
    assert completion.main(["tcsh"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "'bash', 'zsh', 'fish'" in said.err


def test_the_command_prints_it():
    command = [sys.executable, "-m", "henasy_stream", "completion", "bash"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == completion.script("bash") + "\n"
