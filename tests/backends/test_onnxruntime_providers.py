"""A provider counts where a session took it and a golden step is right; that it is listed says nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from henasy_stream.backends.onnxruntime_backend import OnnxRuntimeBackend
from henasy_stream.backends.onnxruntime_providers import CPU, CUDA, TENSORRT_RTX, listed, open_session
from henasy_stream.errors import UserError
from henasy_stream.loading import DEMO_WEIGHTS

DEMO = DEMO_WEIGHTS.with_suffix("")
PLUGIN = """
def get_ep_name():
    return "NvTensorRTRTXExecutionProvider"

def get_library_path():
    return {library!r}
"""
BEST = """
import sys
from pathlib import Path
from henasy_stream.backends.onnxruntime_backend import OnnxRuntimeBackend
print(OnnxRuntimeBackend.best(Path(sys.argv[1]), print).name)
"""


def test_only_the_cpu_is_tried_where_nothing_else_is_installed() -> None:
    assert listed()[-1] == CPU
    if len(listed()) == 1:
        assert OnnxRuntimeBackend.best(DEMO, pytest.fail).name == "onnxruntime-cpu"


def test_a_provider_that_the_session_did_not_take_is_refused() -> None:
    if CUDA in listed():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(UserError, match=r"took CPUExecutionProvider instead of CUDAExecutionProvider|does not run"):
        open_session(DEMO / "text.onnx", CUDA)


@pytest.mark.parametrize(
    ("library", "told"),
    [
        ("/nowhere/libplugin.so", "onnxruntime-tensorrt-rtx-cuda is passed over: ONNX Runtime"),
        (None, "onnxruntime-tensorrt-rtx-cuda is passed over: ONNX Runtime"),
    ],
    ids=["not there", "no library"],
)
def test_a_plugin_that_does_not_load_is_passed_over_and_told(tmp_path: Path, library: str | None, told: str) -> None:
    if library is None:
        (tmp_path / "libplugin.so").write_text("no library at all")
        library = str(tmp_path / "libplugin.so")
    module = TENSORRT_RTX.module
    (tmp_path / f"{module}.py").write_text(PLUGIN.format(library=library))
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{BEST}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(DEMO)], capture_output=True, text=True, timeout=120, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(told)
    assert lines[1] == "onnxruntime-cpu"
