"""Commands side by side, each on one thread, some after others; what has ended is never run again.

A job is done when its file is there, which appears whole or not at all.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from training.options import ROOT

_POLL_S = 0.2
_GRACE_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """commands: run one after the other.  made: what the last one writes, and what then appears as `done`.  after:
    files that must be there first.  log: what they print.  threads: of each.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    made: Path
    done: Path
    log: Path
    after: tuple[Path, ...] = ()
    threads: int = 1

    @property
    def open(self) -> bool:
        """Not done yet."""
        return not self.done.exists()

    @property
    def ready(self) -> bool:
        """All that it needs is there."""
        return all(path.exists() for path in self.after)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Names of the jobs that were done already, ended now, failed, and were stopped or never begun."""

    found: tuple[str, ...]
    ended: tuple[str, ...]
    failed: tuple[str, ...]
    left: tuple[str, ...]


class _Running:
    """One job: its present command, and how many are over."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.started = time.monotonic()
        job.log.parent.mkdir(parents=True, exist_ok=True)
        job.done.parent.mkdir(parents=True, exist_ok=True)
        self._log: IO[str] = job.log.open("a")
        self._over = 0
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        command = self.job.commands[self._over]
        self._log.write(f"$ {' '.join(command)}\n")
        self._log.flush()
        threads = {name: str(self.job.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        return subprocess.Popen(
            command, cwd=ROOT, stdout=self._log, stderr=subprocess.STDOUT, text=True, env={**os.environ, **threads}
        )

    def poll(self) -> int | None:
        """None while it runs, else the status of the command that was the last to run."""
        code = self._process.poll()
        if code == 0 and self._over + 1 < len(self.job.commands):
            self._over += 1
            self._process = self._start()
            return None
        if code is not None:
            self._log.close()
        if code == 0:
            _publish(self.job.made, self.job.done)
        return code

    def stop(self) -> None:
        """As by Ctrl-C, so that a training says where it stopped; killed if it does not end."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def _publish(made: Path, done: Path) -> None:
    if made != done:
        whole = done.with_name(f".{done.name}.part")
        shutil.copyfile(made, whole)
        whole.replace(done)


def run_jobs(jobs: Sequence[Job], *, side_by_side: int, seconds: float, tell: Callable[[str], None]) -> Outcome:
    """Run what is not done, in the given order, never more threads than `side_by_side`.

    Args:
        jobs: a job whose `after` has failed is left.
        side_by_side: threads in use at any time; a job with more than these runs alone.
        seconds: after these nothing is begun and what runs is stopped.
        tell: told of each beginning and end.
    """
    deadline = time.monotonic() + seconds
    found = tuple(job.name for job in jobs if not job.open)
    waiting = [job for job in jobs if job.open]
    running: list[_Running] = []
    ended: list[str] = []
    failed: list[str] = []
    try:
        while running or waiting:
            for one in list(running):
                code = one.poll()
                if code is None:
                    continue
                running.remove(one)
                (failed if code else ended).append(one.job.name)
                minutes = (time.monotonic() - one.started) / 60
                tell(f"{one.job.name}: " + (f"failed, see {one.job.log}" if code else f"{minutes:.1f} min"))
            if time.monotonic() > deadline:
                break
            for job in [job for job in waiting if job.ready]:
                used = sum(one.job.threads for one in running)
                if used and used + job.threads > side_by_side:
                    break
                waiting.remove(job)
                running.append(_Running(job))
                tell(f"{job.name}: begun")
            if not running and not any(job.ready for job in waiting):
                break
            time.sleep(_POLL_S)
    finally:
        left = [one.job.name for one in running] + [job.name for job in waiting]
        for one in running:
            one.stop()
    return Outcome(found=found, ended=tuple(ended), failed=tuple(failed), left=tuple(left))
