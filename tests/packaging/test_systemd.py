"""The unit file: what it runs, and systemd's own opinion of it where systemd is installed."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from henasy_stream.live import parse

UNIT = Path(__file__).parents[2] / "packaging/systemd/henasy-stream.service"


def test_what_the_unit_runs_are_options_that_there_are():
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT.read_text())
    service = unit["Service"]
    assert service["Type"] == "notify"
    command = shlex.split(service["ExecStart"])
    assert command[:2] == ["/opt/henasy-stream/bin/henasy", "live"]
    at = command.index("--config")
    options = parse(command[2:at] + command[at + 2 :])
    assert options.headless
    assert service["Environment"] == "HENASY_CACHE=/var/cache/" + service["CacheDirectory"]


def test_systemd_finds_nothing_wrong(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd on this machine: the unit was not verified")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/henasy-stream/bin/henasy", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if UNIT.name in line]) == (0, [])
