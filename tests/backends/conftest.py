"""The real builder: TensorRT for RTX, which needs no GPU to build.

HENASY_RTX_PYTHON names a python that has tensorrt_rtx (`make proof` makes one in .venv-rtx, which is found without it).
It must be of this Python's version, whose modules it lends.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASK = "import sys, tensorrt_rtx; print(*sys.version_info[:2], tensorrt_rtx.__path__[0])"


@pytest.fixture(scope="session")
def rtx() -> dict[str, str]:
    """An environment in which `import tensorrt_rtx` works."""
    python = os.environ.get("HENASY_RTX_PYTHON", str(ROOT / ".venv-rtx" / "bin" / "python"))
    if not Path(python).exists():
        pytest.skip(f"no TensorRT for RTX: {python} does not exist; make proof, or set HENASY_RTX_PYTHON")
    asked = subprocess.run([python, "-c", ASK], capture_output=True, text=True, timeout=120)
    if asked.returncode:
        pytest.skip(f"no TensorRT for RTX: {asked.stderr.strip().splitlines()[-1]}")
    major, minor, package = asked.stdout.strip().split(" ", 2)
    if (int(major), int(minor)) != sys.version_info[:2]:
        pytest.skip(f"{python} is Python {major}.{minor}, this is {sys.version.split()[0]}")
    return {**os.environ, "PYTHONPATH": str(Path(package).parent), "CUDA_VISIBLE_DEVICES": ""}
