"""A live node as a process of its own, watched through what a user has of it: record, stderr, exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
REAL, FAKE = "henasy_stream.live", "tests.runtime.fake_live"
"""The command itself, and the command with a network that sees coloured squares and needs no second to start."""


class Node:
    """Starts at once.

    folder: gets the record and what the node says.
    arguments: of the command line, besides `--headless` and `--record`.
    module: what is run.
    environment: variables to add.
    record: where the record goes instead.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        module: str = FAKE,
        environment: Mapping[str, str] | None = None,
        record: Path | None = None,
    ) -> None:
        self.record = record or folder / "record.jsonl"
        self._said = folder / "stderr.txt"
        self._read = 0
        self._messages: list[dict[str, Any]] = []
        self._marked = self._marked_said = 0
        command = [sys.executable, "-m", module, *arguments, "--headless", "--record", str(self.record)]
        with self._said.open("wb") as stderr:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, "COLUMNS": "200", **(environment or {})}, stderr=stderr
            )

    @property
    def said(self) -> str:
        """On stderr, since the mark."""
        return self._said.read_text()[self._marked_said :]

    def mark(self) -> None:
        """What came so far is no longer told, so that one node can go through several tests."""
        self.messages("tracks")
        self._marked, self._marked_said = len(self._messages), len(self._said.read_text())

    def messages(self, topic: str) -> list[dict[str, Any]]:
        """All messages of a topic since the mark."""
        if self.record.exists():
            with self.record.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            whole = new.rfind(b"\n") + 1
            self._read += whole
            self._messages += [json.loads(line) for line in new[:whole].splitlines()]
        return [m for m in self._messages[self._marked :] if m["topic"] == f"henasy/1/{topic}"]

    @property
    def statuses(self) -> list[tuple[str, str]]:
        """State and reason of every status since the mark."""
        return [(m["state"], m["reason"]) for m in self.messages("status")]

    @property
    def counters(self) -> dict[str, int]:
        """Of the newest status."""
        self.wait(lambda: self.messages("status"))
        return self.messages("status")[-1]["counters"]

    def wait(self, condition: Callable[[], object], timeout_s: float = 30.0) -> None:
        """Until the condition holds; fails if that takes too long or the node ends before."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            state = f"{self.statuses[-5:]}\n{self.said}"
            assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {state}"
            assert self.process.poll() is None or condition(), f"ended with {self.process.returncode}: {state}"
            time.sleep(0.02)

    def wait_state(self, state: str, reason: str = "", timeout_s: float = 30.0) -> None:
        """Until this is the state and the reason holds the given words."""
        self.wait(lambda: self.statuses and self.statuses[-1][0] == state and reason in self.statuses[-1][1], timeout_s)

    def wait_tracks(self, more: int = 3, timeout_s: float = 30.0) -> list[dict[str, Any]]:
        """Until so many more hops were told; returns them."""
        before = len(self.messages("tracks"))
        self.wait(lambda: len(self.messages("tracks")) >= before + more, timeout_s)
        return self.messages("tracks")[before:]

    def end(self, number: int = signal.SIGTERM, timeout_s: float = 20.0) -> int:
        """Sends the signal; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)


def no_hole(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every message of a topic is there, from the first of these to the last."""
    numbers = [m["seq"] for m in messages]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def resets(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    return [m["reset"] for m in messages if m["reset"] is not None]


def ids(messages: Sequence[Mapping[str, Any]]) -> set[int]:
    """Of everything that was seen in these hops."""
    return {t["id"] for m in messages for t in m["tracks"] if t["state"] in ("new", "tracked")}
