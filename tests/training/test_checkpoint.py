"""A checkpoint is the old one or the new one, whenever the process that writes it dies."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import torch

from training.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]
FLOATS = 20_000_000
WRITES = f"""
import sys, torch
from pathlib import Path
from training.checkpoint import save_checkpoint
for turn in range(1000):
    save_checkpoint(Path(sys.argv[1]), {{"turn": turn, "weights": torch.full(({FLOATS},), float(turn))}})
"""


def killed_while_it_writes(path: Path, part: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITES, str(path)], cwd=ROOT)
    stale = part.stat().st_mtime_ns if part.exists() else 0
    while writer.poll() is None:
        try:
            beside = part.stat()
            if path.exists() and beside.st_mtime_ns > stale and 4_000_000 < beside.st_size < 2 * FLOATS:
                break
        except FileNotFoundError:
            pass
        time.sleep(0.001)
    writer.kill()
    assert writer.wait() < 0


def test_kill_in_the_middle_of_writing_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    path, part = tmp_path / "checkpoint.pt", tmp_path / ".checkpoint.pt.part"
    hits = 0
    for _ in range(10):  # on a busy machine a kill may come when a file has just been finished
        killed_while_it_writes(path, part)
        found = load_checkpoint(path)
        assert torch.equal(found["weights"], torch.full((FLOATS,), float(found["turn"])))
        hits += part.exists() and part.stat().st_size < 4 * FLOATS
        if hits == 2:  # the second process met what the first one had left
            break
    assert hits == 2
    assert {file.name for file in tmp_path.iterdir()} == {path.name, part.name}
