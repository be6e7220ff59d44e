"""torch is imported where it must be and nowhere else, and the wheel stands on its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "henasy_stream"
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path, *, at_module_level: bool = False) -> Iterator[str]:
    """The top-level packages that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if at_module_level and id(node) in inside:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.split(".")[0]


def may_import_torch(path: Path) -> bool:
    place = path.relative_to(PACKAGE)
    return place.parts[0] == "model" or (place.parts[0] == "backends" and place.name.startswith("torch"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_model_and_its_backend_import_torch(path):
    if not may_import_torch(path):
        assert "torch" not in set(imported(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_wheel_imports_no_part_of_a_checkout(path):
    assert not {"training", "export", "tests", "benchmarks", "rclpy", "tensorrt"} & set(
        imported(path, at_module_level=True)
    )
    assert not {"training", "export", "tests", "benchmarks"} & set(imported(path))


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import henasy_stream", ("numpy", "cv2", "torch", "msgspec")),
        ("import henasy_stream.live", ("numpy", "cv2", "torch", "rich")),
        ("import henasy_stream.client", ("numpy", "cv2", "torch")),
        ("import henasy_stream.stream.engine, henasy_stream.runtime.node", ("torch", "training")),
        ("from henasy_stream import Engine, Frame, annotate, open_source, stream, load", ("torch",)),
    ],
)
def test_what_an_import_does_not_bring_along(statement, absent):
    code = f"{statement}\nimport sys\nprint([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
