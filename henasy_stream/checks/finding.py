"""What a check has found, and checks that may crash, hang or raise without anybody else suffering from it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any, Literal

from henasy_stream.errors import debugging

Mark = Literal["ok", "note", "problem"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line for people.

    remedy: what to do about it, where something can be done.  facts: the same for programs, as JSON has it.
    """

    about: str
    text: str
    mark: Mark = "ok"
    remedy: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Check:
    """A function of this package that returns findings.  function: "module.name".  argument: its only one, if any."""

    about: str
    function: str
    argument: str | None = None
    limit_s: float = 20.0


def isolated(check: Check) -> list[Finding]:
    """Runs a check in a process of its own; that it raised, crashed or took too long is a finding, too."""
    arguments = [] if check.argument is None else [check.argument]
    process = subprocess.Popen(
        [sys.executable, "-m", "henasy_stream.checks", check.function, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        said, wrong = process.communicate(timeout=check.limit_s)
    except subprocess.TimeoutExpired:
        return [Finding(mark="problem", about=check.about, text=f"no answer within {check.limit_s:g} s")]
    finally:
        if process.poll() is None:  # not waited for: a process that hangs in a driver may not even die
            os.killpg(process.pid, signal.SIGKILL)
    lines = said.decode(errors="replace").splitlines()
    if process.returncode == 0 and lines:
        return [Finding(**found) for found in json.loads(lines[-1])]
    if debugging():
        print(wrong.decode(errors="replace"), file=sys.stderr)
    return [Finding(mark="problem", about=check.about, text=_end(process.returncode, wrong))]


def _end(code: int, wrong: bytes) -> str:
    if code < 0:
        return f"crashed with {signal.Signals(-code).name}"
    lines = wrong.decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), f"ended with code {code}")
