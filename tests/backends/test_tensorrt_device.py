"""Where there is no driver, or one that is too old, a line says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

import pytest

from henasy_stream.backends.tensorrt_device import LIBRARY

ROOT = Path(__file__).parents[2]
OPEN = """
from henasy_stream.backends.tensorrt_device import open_driver
from henasy_stream.errors import UserError
try:
    print(open_driver().gpu())
except UserError as error:
    print(error)
"""


def said(folder: Path) -> str:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", OPEN], capture_output=True, text=True, env=environment, cwd=ROOT, timeout=60, check=True
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    return done.stdout


@pytest.mark.skipif(find_library("cuda") is not None, reason="a driver is here")
def test_no_driver(tmp_path: Path) -> None:
    assert "no NVIDIA driver" in said(tmp_path)
    assert "--backend onnxruntime" in said(tmp_path)


def test_a_library_that_is_damaged(tmp_path: Path) -> None:
    (tmp_path / LIBRARY).write_bytes(b"\x7fELF")
    assert "no NVIDIA driver" in said(tmp_path)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler")
def test_a_driver_that_is_too_old(tmp_path: Path) -> None:
    source = tmp_path / "old.c"
    source.write_text("int cuInit(unsigned flags) { return 0; }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(tmp_path / LIBRARY), str(source)], check=True)
    assert "the NVIDIA driver lacks cuDriverGetVersion; update it" in said(tmp_path)
