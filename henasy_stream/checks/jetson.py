"""What a Jetson says of itself.  Written from NVIDIA's documentation: no Jetson was at hand."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from henasy_stream.checks.finding import Finding

_MODEL = Path("/proc/device-tree/model")
_RELEASE = Path("/etc/nv_tegra_release")


def jetson(model: Path = _MODEL, release: Path = _RELEASE) -> list[Finding]:
    """Board, system release and power mode; nothing where this is no Jetson."""
    board = model.read_text(errors="replace").strip("\0 \n") if model.is_file() else ""
    if "NVIDIA" not in board:
        return []
    found = [Finding(about="gpu", text=f"{board}{_release(release)}")]
    mode = _power_mode()
    if mode and not mode.startswith("MAXN"):
        remedy = "sudo nvpmodel -m 0 && sudo jetson_clocks (nvpmodel -p --verbose lists the modes)"
        found.append(Finding(mark="note", about="gpu", text=f"power mode {mode}: slower than it can be", remedy=remedy))
    elif mode:
        found.append(Finding(about="gpu", text=f"power mode {mode}"))
    return found


def _release(file: Path) -> str:
    """As in ", L4T R36.4.0"."""
    text = file.read_text(errors="replace") if file.is_file() else ""
    told = re.search(r"# R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return f", L4T R{told[1]}.{told[2]}" if told else ""


def _power_mode() -> str:
    program = shutil.which("nvpmodel")
    if program is None:
        return ""
    asked = subprocess.run([program, "-q"], capture_output=True, text=True, check=False)
    told = re.search(r"NV Power Mode: *(\S+)", asked.stdout)
    return told[1] if told else ""
