"""Engines on disk: what fits, what differs, what is half written, and processes that want one at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from henasy_stream.backends.engine_cache import (
    EngineKey,
    NoEngineError,
    build_once,
    differing,
    engine_path,
    find_engine,
    read_fingerprint,
)
from henasy_stream.errors import UserError

KEY = EngineKey(
    model="world_demo",
    graph="window",
    flavour="tensorrt",
    version="10.3.0",
    compute_capability="8.7",
    precision="fp16",
    onnx_sha256="ab" * 32,
)
HOW = "build it with: henasy build-engine"
ROOT = Path(__file__).parents[2]
BUILDER = """
import sys, time
from pathlib import Path
import msgspec
from henasy_stream.backends.engine_cache import EngineKey, build_once
folder, key, started = Path(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=EngineKey), Path(sys.argv[3])
def build(out, lock):
    out.write_bytes(b"half")
    started.touch()
    while not Path(sys.argv[4]).exists():
        time.sleep(0.02)
    out.write_bytes(b"whole")
    print("BUILT", flush=True)
build_once(folder, key, build, lambda line: print(line, flush=True))
"""


def write(out: Path, lock: int) -> None:
    out.write_bytes(b"engine")


def write_another(out: Path, lock: int) -> None:
    out.write_bytes(b"another")


def never(out: Path, lock: int) -> None:
    raise AssertionError("built although it is there")


def process(folder: Path, started: Path, go: Path) -> subprocess.Popen[str]:
    arguments = [str(folder), msgspec.json.encode(KEY).decode(), str(started), str(go)]
    return subprocess.Popen([sys.executable, "-c", BUILDER, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.02)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_an_engine_is_built_once_and_then_found(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "engines"
    path = build_once(folder, KEY, write, print)
    assert path == engine_path(folder, KEY) == find_engine(folder, KEY, HOW)
    assert build_once(folder, KEY, never, print) == path
    fingerprint = read_fingerprint(path)
    assert fingerprint.key == KEY
    assert fingerprint.engine.size == len(b"engine")
    assert names(folder) == [path.name, path.with_suffix(".json").name]


def test_force_builds_again(tmp_path: Path) -> None:
    path = build_once(tmp_path, KEY, write, print)
    os.utime(path, (1, 1))
    build_once(tmp_path, KEY, write_another, print, force=True)
    assert path.read_bytes() == b"another"
    assert find_engine(tmp_path, KEY, HOW) == path


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"compute_capability": "8.6"}, "compute capability 8.6, here it is 8.7"),
        ({"version": "10.16.1"}, "version 10.16.1, here it is 10.3.0"),
        ({"flavour": "tensorrt_rtx"}, "runtime tensorrt_rtx, here it is tensorrt"),
        ({"precision": "fp32"}, "precision fp32, here it is fp16"),
        ({"onnx_sha256": "cd" * 32}, "graph cdcdcdcdcdcd, here it is abababababab"),
    ],
)
def test_what_was_built_for_something_else_is_named(changed: dict[str, str], told: str, tmp_path: Path) -> None:
    other = msgspec.structs.replace(KEY, **changed)
    far = msgspec.structs.replace(other, version="9.9", precision="bf16", compute_capability="1.0")
    build_once(tmp_path, far, write, print)
    path = build_once(tmp_path, other, write, print)
    with pytest.raises(NoEngineError) as caught:
        find_engine(tmp_path, KEY, HOW)
    line = str(caught.value)
    assert told in line
    assert line.endswith(HOW)
    assert "\n" not in line
    for suffix in (".engine", ".json"):  # renamed by hand
        path.with_suffix(suffix).rename(engine_path(tmp_path, KEY).with_suffix(suffix))
    with pytest.raises(NoEngineError, match="was built for something else") as caught:
        find_engine(tmp_path, KEY, HOW)
    assert told in str(caught.value)


TEXT = st.text(min_size=1, max_size=8)
KEYS = st.builds(
    EngineKey,
    model=TEXT,
    graph=st.sampled_from(["window", "causal"]),
    flavour=st.sampled_from(["tensorrt", "tensorrt_rtx"]),
    version=TEXT,
    compute_capability=TEXT,
    precision=TEXT,
    onnx_sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
)


@given(KEYS, KEYS)
def test_keys_that_differ_have_other_files_and_say_so(one: EngineKey, other: EngineKey) -> None:
    assert (one.stem == other.stem) == (one == other)
    assert "/" not in one.stem
    depends = [name for name in EngineKey.__struct_fields__ if name not in ("model", "graph")]
    apart = [name for name in depends if getattr(one, name) != getattr(other, name)]
    assert differing(one, other).count("here it is") == len(apart)


def truncated(engine: Path) -> None:
    engine.write_bytes(engine.read_bytes()[:-1])


def changed(engine: Path) -> None:
    engine.write_bytes(b"ENGINE")


def without_fingerprint(engine: Path) -> None:
    engine.with_suffix(".json").unlink()


def half_a_fingerprint(engine: Path) -> None:
    path = engine.with_suffix(".json")
    path.write_bytes(path.read_bytes()[:40])


def a_foreign_fingerprint(engine: Path) -> None:
    engine.with_suffix(".json").write_text('{"schema": 1}')


def a_huge_fingerprint(engine: Path) -> None:
    engine.with_suffix(".json").write_bytes(b" " * (1 << 20))


def without_engine(engine: Path) -> None:
    engine.unlink()


@pytest.mark.parametrize(
    "damage",
    [
        truncated,
        changed,
        without_fingerprint,
        half_a_fingerprint,
        a_foreign_fingerprint,
        a_huge_fingerprint,
        without_engine,
    ],
)
def test_what_is_damaged_is_never_loaded_and_built_anew(damage: Any, tmp_path: Path) -> None:
    path = build_once(tmp_path, KEY, write, print)
    damage(path)
    with pytest.raises(NoEngineError, match=path.name) as caught:
        find_engine(tmp_path, KEY, HOW)
    assert str(caught.value).endswith(HOW)
    assert build_once(tmp_path, KEY, write, print) == find_engine(tmp_path, KEY, HOW)


def test_a_build_that_fails_leaves_nothing_and_keeps_nobody_out(tmp_path: Path) -> None:
    def fail(out: Path, lock: int) -> None:
        out.write_bytes(b"half")
        raise UserError("the graph is refused")

    with pytest.raises(UserError, match="refused"):
        build_once(tmp_path, KEY, fail, print)
    assert names(tmp_path) == []
    build_once(tmp_path, KEY, write, print)


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="HENASY_CACHE") as caught:
        build_once(tmp_path / "file" / "engines", KEY, write, print)
    assert "\n" not in str(caught.value)


def test_of_two_processes_one_builds_and_the_other_waits_and_says_so(tmp_path: Path) -> None:
    folder, go = tmp_path / "engines", tmp_path / "go"
    first = process(folder, tmp_path / "first", go)
    wait_for(tmp_path / "first")
    second = process(folder, tmp_path / "second", go)
    assert second.stdout is not None
    assert f"process {first.pid} builds this engine; waiting" in second.stdout.readline()
    with pytest.raises(NoEngineError):  # half written
        find_engine(folder, KEY, HOW)
    go.touch()
    assert "BUILT" in first.communicate(timeout=60)[0]
    assert "BUILT" not in second.communicate(timeout=60)[0]
    assert (first.returncode, second.returncode) == (0, 0)
    assert not (tmp_path / "second").exists()
    assert find_engine(folder, KEY, HOW).read_bytes() == b"whole"


def test_a_process_that_is_killed_leaves_no_engine_and_no_lock(tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    killed = process(folder, tmp_path / "started", tmp_path / "never")
    wait_for(tmp_path / "started")
    killed.kill()
    killed.communicate(timeout=60)
    assert any(name.endswith(".part") for name in names(folder))
    with pytest.raises(NoEngineError):
        find_engine(folder, KEY, HOW)
    path = build_once(folder, KEY, write, print)
    assert names(folder) == [path.name, path.with_suffix(".json").name]
