"""What `doctor` says of machines that work, lack something, lie, crash and hang."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from henasy_stream import doctor
from henasy_stream.checks import cameras, jetson, machine, ros, runtimes
from henasy_stream.checks.finding import Check, Finding, Mark, isolated
from henasy_stream.live import build_parser
from henasy_stream.loading import candidates
from henasy_stream.sources import _v4l2

ROOT = Path(__file__).parents[1]
NO_LIBGL = "raise ImportError('libGL.so.1: cannot open shared object file')"
NO_TORCH = "raise ImportError('libtorch_cpu.so: cannot open shared object file')"
CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGILL)"
HANGING_CAMERA = """
import time
from henasy_stream.sources import _v4l2
_v4l2.list_cameras = lambda: ["/dev/null (good)", "/dev/zero (hangs)"]
_v4l2.formats = lambda device: time.sleep(600) if device == "/dev/zero" else [
    _v4l2.Format(fourcc="MJPG", width=640, height=480, fps=rate) for rate in (60.0, 30.0)
]
"""


def run(*arguments: str, stubs: Path | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    if stubs is not None:
        environment["PYTHONPATH"] = str(stubs)
    command = [sys.executable, "-m", "henasy_stream.doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, cwd=cwd)


def by_subject(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    assert done.stderr == ""
    return {finding["about"]: finding for finding in json.loads(done.stdout)["findings"]}


@pytest.mark.slow
def test_a_machine_that_works() -> None:
    done = run()
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.endswith("--backend auto takes onnxruntime for the demo weights.\n")
    lines = [line for line in done.stdout.splitlines()[:-1] if not line.lstrip().startswith("→")]
    assert {line.split()[0] for line in lines} <= {"ok", "note", "problem"}
    subjects = [line.split()[1] for line in lines]
    assert subjects == sorted(subjects, key=[check.about for check in doctor.CHECKS].index)
    assert {check.about for check in doctor.CHECKS} == set(subjects)
    told = dict(zip(subjects, lines, strict=False))
    for backend in ("onnxruntime", "torch"):
        assert told[backend].startswith("ok ")
        assert " ms" in told[backend]
    assert "numpy " in told["libraries"]


@pytest.mark.slow
def test_an_installation_whose_bundle_is_damaged_runs_with_torch(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "henasy_stream", tmp_path / "henasy_stream", ignore=shutil.ignore_patterns("__pycache__"))
    graph = tmp_path / "henasy_stream" / "weights" / "demo" / "window.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"!")
    done = run("--json", stubs=tmp_path, cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)["backend"] == "torch"
    found = by_subject(done)
    assert found["torch"]["mark"] == "ok"
    assert found["onnxruntime"]["mark"] == "problem"
    assert "window.onnx is not the file that was exported" in found["onnxruntime"]["text"]
    assert "henasy-stream" in found["onnxruntime"]["remedy"]


@pytest.mark.slow
def test_a_machine_where_nothing_works_and_a_camera_hangs(tmp_path: Path) -> None:
    stubs = {"onnxruntime": CRASH, "torch": NO_TORCH, "cv2": NO_LIBGL, "sitecustomize": HANGING_CAMERA}
    for name, code in stubs.items():
        (tmp_path / f"{name}.py").write_text(code)
    done = run("--json", stubs=tmp_path)
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert (said["runs"], said["backend"]) == (False, None)
    found = by_subject(done)
    assert found["onnxruntime"]["text"] == "crashed with SIGILL"
    assert "libtorch_cpu.so" in found["torch"]["text"]
    assert found["camera /dev/null"]["text"] == "(good) MJPG 640x480 at 30, 60 fps"
    assert found["camera /dev/zero (hangs)"]["text"] == "no answer within 5 s"
    assert found["node"]["text"].startswith("libGL.so.1")
    assert found["node"]["remedy"].startswith("apt-get install libgl1")


def test_it_tries_what_auto_tries() -> None:
    there = candidates("demo", print)
    assert tuple(one.name for one in there if one.auto or one.name == "tensorrt") == doctor.BACKENDS
    assert {one.name for one in there} <= {check.about for check in doctor.CHECKS}


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ({"node": "ok", "onnxruntime": "ok", "torch": "ok"}, ("onnxruntime", True)),
        ({"node": "ok", "tensorrt": "ok", "onnxruntime": "ok", "torch": "ok"}, ("tensorrt", True)),
        ({"node": "ok", "tensorrt": "note", "onnxruntime": "ok", "torch-tensorrt": "ok"}, ("onnxruntime", True)),
        ({"node": "ok", "onnxruntime": "problem", "torch": "ok"}, ("torch", True)),
        ({"node": "ok", "onnxruntime": "problem", "torch": "note"}, (None, False)),
        ({"node": "problem", "onnxruntime": "ok", "torch": "note"}, ("onnxruntime", False)),
        ({"node": "ok", "onnxruntime": "ok", "camera": "problem", "cache": "problem"}, ("onnxruntime", True)),
    ],
)
def test_the_verdict(marks: dict[str, Mark], expected: tuple[str | None, bool]) -> None:
    assert doctor.verdict([Finding(about=about, text="", mark=mark) for about, mark in marks.items()]) == expected


def test_a_reader_that_has_read_enough() -> None:
    command = [sys.executable, "-m", "henasy_stream.doctor"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


def test_the_command_knows_it() -> None:
    command = [sys.executable, "-m", "henasy_stream", "doctor", "--help"]
    assert "--json" in subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


class _Terminal:
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("argument", ["--jsno", "extra"])
def test_a_wrong_argument_is_one_line(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main([argument]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert argument in said.err


def test_colours_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", _Terminal())
    finding = Finding(mark="note", about="camera", text="none", remedy="plug one in")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[33mnote" in doctor._line(finding)
    monkeypatch.setenv("NO_COLOR", "1")
    assert doctor._line(finding) == "note    camera         none\n                       → plug one in"


def test_a_check_that_raises_or_does_not_exist_is_a_finding() -> None:
    (found,) = isolated(Check(about="onnxruntime", function="runtimes.backend", argument="nonsense"))
    assert found.mark == "problem"
    assert found.text.startswith("ValueError: ")
    (found,) = isolated(Check(about="weather", function="machine.weather"))
    assert found.mark == "problem"
    assert "AttributeError" in found.text


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_port_that_is_taken(listener: int) -> None:
    found = machine.port(listener, "--publish zmq://127.0.0.1:{}")
    assert found.mark == "note"
    assert found.remedy.startswith("stop the program")
    assert f"zmq://127.0.0.1:{listener + 1}" in found.remedy


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HENASY_CACHE", str(tmp_path / "new" / "folder"))
    assert "GB free" in machine.cache()[0].text
    (tmp_path / "file").touch()
    monkeypatch.setenv("HENASY_CACHE", str(tmp_path / "file" / "folder"))
    (found,) = machine.cache()
    assert found.mark == "problem"
    assert "HENASY_CACHE" in found.remedy


def test_the_ports_are_those_of_the_options() -> None:
    told = " ".join(finding.text + finding.remedy for finding in machine.ports())
    for option in ("--publish", "--control", "--view"):
        assert option in told
        assert option in build_parser().options()


def test_a_folder_that_takes_no_records(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert "GB free for records" in machine.here()[0].text
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert machine.here()[0].mark == "note"


def test_a_python_that_nobody_has_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.system()[0].mark == "ok"
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    (found,) = machine.system()
    assert found.mark == "note"
    assert "tested are 3.10 to 3.13" in found.text


def test_ros(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    assert ros.ros(tmp_path)[0].mark == "ok"
    (tmp_path / "jazzy").mkdir()
    (tmp_path / "jazzy" / "setup.bash").touch()
    assert ros.ros(tmp_path)[0].remedy == f"source {tmp_path}/jazzy/setup.bash"
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp")
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    assert ros.ros(tmp_path)[0].text == "jazzy is sourced: rmw_cyclonedds_cpp, domain 7"


def test_what_pictures_over_ros_need(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    (tmp_path / "rmem_max").write_text("212992\n")
    (tmp_path / "wmem_max").write_text("2147483647\n")
    assert [found.mark for found in ros.buffers(tmp_path)] == ["ok"] * 2  # nobody sends pictures over ROS here
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    read, write = ros.buffers(tmp_path)
    assert (read.mark, write.mark) == ("note", "ok")
    assert "208 KiB" in read.text
    assert read.remedy.startswith("sudo sysctl -w net.core.rmem_max=")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(64 << 20, 0, 64 << 20))
    (shared,) = ros.shared_memory(tmp_path)
    assert (shared.mark, shared.about) == ("note", "shm")
    assert "--shm-size" in shared.remedy
    nothing = tmp_path / "nothing"
    assert [found.mark for found in ros.buffers(nothing) + ros.shared_memory(nothing)] == ["ok"] * 3


def test_dds_without_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert ros.dds(missing)[0].remedy == "pip install 'henasy-stream[ros2]'"
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert "from source" in ros.dds(missing)[0].remedy
    monkeypatch.setitem(sys.modules, "cyclonedds.core", None)
    assert ros.dds(lambda name: "11.0")[0].mark == "note"


def test_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_v4l2, "list_cameras", list)
    assert cameras.cameras()[0].text == "none connected"
    (found,) = cameras.camera("/dev/null/nothing (gone)")
    assert found.mark == "problem"
    assert "no such camera" in found.text
    assert found.facts["problem"] == found.text
    monkeypatch.setattr(_v4l2, "stable_name", lambda device: "/dev/v4l/by-id/usb-cam")
    monkeypatch.setattr(_v4l2, "formats", lambda device: [])
    (found,) = cameras.camera("/dev/null (Webcam)")
    assert (found.mark, found.about, found.text) == ("ok", "camera /dev/null", "(Webcam) lists no formats")
    assert found.remedy == "--camera /dev/v4l/by-id/usb-cam always means this camera"


@pytest.mark.parametrize(
    ("script", "mark", "text"),
    [
        ("echo 'NVIDIA Card, 570.1, 8192 MiB'; echo 'NVIDIA Other, 570.1, 4096 MiB'", "ok", "NVIDIA Card, 570.1, 8192"),
        ("echo 'has failed because it could not communicate with the driver'; exit 9", "note", "could not communicate"),
        ("exit 0", "note", "nvidia-smi fails"),
    ],
)
def test_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, mark: str, text: str) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = runtimes.gpu()
    assert found[0].mark == mark
    assert text in found[0].text


def test_a_jetson_in_a_slow_mode(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From documented formats: no Jetson was at hand."""
    assert jetson.jetson(tmp_path / "model") == []
    (tmp_path / "model").write_bytes(b"NVIDIA Jetson Orin Nano Developer Kit\0")
    (tmp_path / "release").write_text("# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, EABI: aarch64\n")
    program = tmp_path / "nvpmodel"
    program.write_text("#!/bin/sh\necho 'NV Power Mode: 15W'\necho 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    board, mode = jetson.jetson(tmp_path / "model", tmp_path / "release")
    assert board.text == "NVIDIA Jetson Orin Nano Developer Kit, L4T R36.4.0"
    assert (mode.mark, mode.text) == ("note", "power mode 15W: slower than it can be")
    assert mode.remedy.startswith("sudo nvpmodel")
    program.write_text("#!/bin/sh\necho 'NV Power Mode: MAXN_SUPER'\necho 2\n")
    assert jetson.jetson(tmp_path / "model", tmp_path / "release")[1].mark == "ok"


def test_libraries_that_are_missing_or_overwrite_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"numpy": "2.0", "opencv-python-headless": "4.9", "onnxruntime": "1.20", "onnxruntime-gpu": "1.20"}
    asked = ["numpy>=1.23.5", "opencv-python>=4.8", "onnxruntime>=1.18", "pyzmq>=25.1", "torch>=2.4; extra == 'torch'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: asked)
    monkeypatch.setattr(runtimes, "_version", lambda name: versions.get(name, ""))
    listed, rivals, missing = runtimes.libraries()
    assert "opencv-python-headless 4.9" in listed.text
    assert rivals.text == "onnxruntime and onnxruntime-gpu overwrite each other's files"
    assert (missing.mark, missing.text, missing.remedy) == ("problem", "pyzmq not installed", "pip install pyzmq")
