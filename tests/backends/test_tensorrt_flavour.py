"""Which TensorRT there is, and what is said of one that is missing, broken, too old or not itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from henasy_stream.backends.tensorrt_flavour import architecture, load_flavour
from henasy_stream.errors import UserError

NAMES = ("tensorrt", "tensorrt_rtx")


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules hide those that are installed, and are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in NAMES:
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name}')\n")
    yield tmp_path
    for name in NAMES:
        sys.modules.pop(name, None)


def test_none(modules: Path) -> None:
    with pytest.raises(
        UserError, match=r"^TensorRT is not installed: .*; TensorRT for RTX is not installed: "
    ) as caught:
        load_flavour()
    assert "--system-site-packages" in str(caught.value)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise ImportError('libnvinfer.so.10: cannot open shared object file')", r"cannot be loaded \(libnvinfer"),
        ("raise RuntimeError('CUDA driver\\nis too old')", r"cannot be loaded \(CUDA driver is too old\)"),
        ("__version__ = '8.6.1'", "8.6.1 is too old"),
        ("__version__ = '1.5.0'\n_package_name = 'tensorrt_rtx'", "TensorRT is not installed"),
    ],
)
def test_one_that_does_not_do(code: str, told: str, modules: Path) -> None:
    (modules / "tensorrt.py").write_text(code)
    with pytest.raises(UserError, match=told):
        load_flavour("tensorrt")
    (modules / "tensorrt_rtx.py").write_text("__version__ = '1.5.0.114'")
    assert load_flavour().called == "TensorRT for RTX 1.5.0.114"


def test_both(modules: Path) -> None:
    for name in NAMES:
        (modules / f"{name}.py").write_text("__version__ = '10.16.1.11'")
    assert load_flavour().name == "tensorrt"
    assert load_flavour("tensorrt_rtx").is_rtx


def test_compute_capabilities() -> None:
    assert [architecture(text) for text in ("7.5", "8.7", "12.0")] == ["SM75", "SM87", "SM120"]
    for text in ("", "8", "sm86", "8.x", "-8.6", "8.6.1"):
        with pytest.raises(UserError, match=r"give one as in 8\.6"):
            architecture(text)
