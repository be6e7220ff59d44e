"""The node as a process, with a caption bank that takes longer to embed than anyone wants to wait."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

LINES = 30_000


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "henasy_stream.live",
        "--source",
        "world?size=160x120&fps=2&realtime=1",
        "--headless",
    ]
    environment = {**os.environ, "HENASY_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )


def embedded(process: subprocess.Popen[str]) -> int:
    """How many phrases are there when the node first says so."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.match(rf"note .* (\d+) of {LINES} phrases", line):
            return int(found[1])
    raise AssertionError("no note")


@pytest.mark.slow
def test_ctrl_c_ends_while_phrases_are_embedded_and_the_next_start_goes_on(tmp_path):
    bank = tmp_path / "bank.txt"
    bank.write_text("\n".join(f"does thing {i} with a cup and a knife" for i in range(LINES)))
    counts = []
    for _ in range(2):
        process = start(tmp_path, "--phrases", str(bank))
        counts.append(embedded(process))
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=240)[0]
        assert process.returncode == 0
        assert "ended     Ctrl-C" in said
        assert "Traceback" not in said
    assert 0 < counts[0] < LINES
    assert counts[1] > counts[0]


@pytest.mark.slow
def test_captions_of_verbs_and_nouns_from_files(tmp_path):
    (tmp_path / "verbs.csv").write_text("id,key,instances,category\n0,take,['take'],x\n1,turn-on,['turn-on'],x\n")
    (tmp_path / "nouns.txt").write_text("cup\nboard:chopping\n")
    record = tmp_path / "r.jsonl"
    options = ("--verbs", str(tmp_path / "verbs.csv"), "--nouns", str(tmp_path / "nouns.txt"))
    process = start(tmp_path, *options, "--max-frames", "4", "--record", str(record))
    assert process.wait(240) == 0
    texts = set(re.findall(r'"text":"([^"]+)"', record.read_text()))
    assert texts == {"take cup", "take chopping board", "turn on cup", "turn on chopping board"}
