"""`henasy build-engine` with the real builder: built, found, waited for, killed, refused, no room."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from export.proof import write_control
from henasy_stream.backends.bundle import MANIFEST, open_bundle, sum_of

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "henasy_stream" / "weights" / "demo"
COMMAND = [sys.executable, "-m", "henasy_stream", "build-engine", "--compute-capability", "8.6"]


def start(environment: dict[str, str], *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )


def run(environment: dict[str, str], *arguments: object) -> tuple[int, str]:
    with start(environment, *arguments) as process:
        said = process.communicate(timeout=300)[1]
    return process.returncode, said


def builder_of(process: subprocess.Popen[str]) -> psutil.Process:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for child in psutil.Process(process.pid).children():
            if "henasy_stream.backends.tensorrt_build" in child.cmdline():
                return child
        time.sleep(0.01)
    raise AssertionError("the builder never started")


def is_gone(process: psutil.Process) -> bool:
    end = time.monotonic() + 60
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def engines(folder: Path) -> list[str]:
    return [path.suffix for path in sorted(folder.glob("*")) if path.suffix != ".lock"]


@pytest.mark.slow
def test_what_is_built_is_found_and_what_is_for_another_gpu_is_named(rtx: dict[str, str], tmp_path: Path) -> None:
    code, said = run(rtx, "--out", tmp_path)
    assert code == 0, said
    assert said.splitlines()[-1].startswith("built: ")
    assert engines(tmp_path) == [".engine", ".json"]
    (fingerprint,) = tmp_path.glob("*.json")
    key = json.loads(fingerprint.read_text())["key"]
    manifest = open_bundle(DEMO).manifest
    assert (key["flavour"], key["compute_capability"], key["precision"]) == ("tensorrt_rtx", "8.6", "fp32")
    assert key["onnx_sha256"] == manifest.files[manifest.graphs["window"].file].sha256

    code, said = run(rtx, "--out", tmp_path)
    assert code == 0
    assert "is there already" in said

    with start(rtx, "--out", tmp_path, "--compute-capability", "8.9") as process:
        builder_of(process).kill()
        said = process.communicate(timeout=60)[1]
    assert "was built for something else: compute capability 8.6, here it is 8.9" in said


@pytest.mark.slow
def test_two_commands_at_once_build_once(rtx: dict[str, str], tmp_path: Path) -> None:
    with start(rtx, "--out", tmp_path) as first:
        builder = builder_of(first)
        builder.suspend()
        with start(rtx, "--out", tmp_path) as second:
            assert second.stderr is not None
            waited = [second.stderr.readline() for _ in range(3)][-1]
            builder.resume()
            said = second.communicate(timeout=300)[1]
        told = first.communicate(timeout=300)[1]
    assert f"process {first.pid} builds this engine; waiting for it" in waited
    assert (first.returncode, second.returncode) == (0, 0)
    assert "built: " in told
    assert "is there already" in said


@pytest.mark.slow
def test_a_command_that_is_killed_leaves_no_engine_no_builder_and_no_lock(rtx: dict[str, str], tmp_path: Path) -> None:
    with start(rtx, "--out", tmp_path) as process:
        builder = builder_of(process)
        process.kill()
    assert is_gone(builder)
    assert ".engine" not in engines(tmp_path)
    with start(rtx, "--out", tmp_path) as process:
        builder_of(process).kill()  # it has begun
        assert "waiting" not in process.communicate(timeout=60)[1]


@pytest.mark.slow
def test_ctrl_c_is_one_line(rtx: dict[str, str], tmp_path: Path) -> None:
    with start(rtx, "--out", tmp_path) as process:
        builder = builder_of(process)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said.splitlines()[-1] == "build-engine: interrupted; no engine was written"
    assert "Traceback" not in said
    assert is_gone(builder)
    assert engines(tmp_path) == []


@pytest.mark.slow
def test_a_builder_that_is_killed_or_crashes_is_one_line(rtx: dict[str, str], tmp_path: Path) -> None:
    for number, told in ((signal.SIGKILL, "lack of memory"), (signal.SIGSEGV, "crashed with SIGSEGV")):
        with start(rtx, "--out", tmp_path) as process:
            builder_of(process).send_signal(number)
            said = process.communicate(timeout=60)[1]
        assert process.returncode == 1
        assert told in said.splitlines()[-1]
        assert "Traceback" not in said
        assert engines(tmp_path) == []


@pytest.mark.slow
def test_a_graph_that_is_refused_is_one_line(rtx: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(DEMO, folder)
    write_control(folder / "window.onnx")
    manifest = open_bundle(DEMO).manifest
    files = manifest.files | {"window.onnx": sum_of(folder / "window.onnx")}
    (folder / MANIFEST).write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, files=files)))
    code, said = run(rtx, "--weights", folder, "--out", tmp_path / "engines")
    assert code == 1
    assert "refuses" in said.splitlines()[-1]
    assert "Unique" in said.splitlines()[-1]
    assert engines(tmp_path / "engines") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "told"), [("size=64k", "no space left in"), ("ro", "engines cannot be written to")]
)
def test_a_folder_that_takes_no_engine_is_one_line(
    options: str, told: str, rtx: dict[str, str], tmp_path: Path
) -> None:
    mount = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    script = f'mount -t tmpfs -o {options} none "$0" && exec "$@"'
    if subprocess.run([*mount, script, str(tmp_path), "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no mounts")
    command = [*COMMAND, "--out", str(tmp_path / "engines")]
    done = subprocess.run(
        [*mount, script, str(tmp_path), *command], capture_output=True, text=True, env=rtx, cwd=ROOT, timeout=300
    )
    assert done.returncode == 1, done.stderr
    assert told in done.stderr.splitlines()[-1]
    assert "HENASY_CACHE" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--compute-capability", "8.7"), "7.5, 8.0, 8.6, 8.9, 12.0, 12.1, not for 8.7"),
        (("--compute-capability", "eight"), "give one as in 8.6"),
        (("--weights", "lavila"), "--precision fp16 --out bundle/"),
        (("--weights", "demmo"), "did you mean demo?"),
        (("--flavour", "tensorrt"), "TensorRT is not installed"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], told: str, rtx: dict[str, str], tmp_path: Path) -> None:
    if told.endswith("not installed") and shutil.which("trtexec"):
        pytest.skip("TensorRT is installed here")
    code, said = run({**rtx, "HENASY_CACHE": str(tmp_path)}, *arguments)
    assert code == 2
    assert said.count("\n") == 1
    assert told in said


@pytest.mark.slow
@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="a GPU is here")  # noqa: PTH110 - a device
def test_without_a_gpu_it_says_what_is_missing(rtx: dict[str, str]) -> None:
    command = [name for name in COMMAND if name not in ("--compute-capability", "8.6")]
    done = subprocess.run(command, capture_output=True, text=True, env=rtx, cwd=ROOT, timeout=120)
    assert done.returncode == 2
    assert "no NVIDIA driver" in done.stderr
    assert "--compute-capability" in done.stderr
    assert done.stderr.count("\n") == 1
