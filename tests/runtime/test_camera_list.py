"""`--list-cameras`, as its own process, on machines that have other cameras than this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NO_CAMERA = """
from henasy_stream.sources import _v4l2
_v4l2.list_cameras = list
"""
CAMERAS = """
import time
from henasy_stream.sources import _v4l2
_v4l2.list_cameras = lambda: ["/dev/null (Good One (C920))", "/dev/zero (hangs)", "/dev/full (unknown)"]
_v4l2.list_cameras = lambda listed=_v4l2.list_cameras(): [*listed, "/dev/gone (x)"]
_v4l2.stable_name = lambda device: "/dev/v4l/by-id/usb-good" if device == "/dev/null" else None
def formats(device):
    if device == "/dev/zero":
        time.sleep(600)
    return [
        _v4l2.Format(fourcc=fourcc, width=width, height=width * 3 // 4, fps=rate)
        for fourcc, width, rates in (("YUYV", 640, (30,)), ("MJPG", 640, (30, 60)), ("MJPG", 1280, (30,)))
        for rate in rates
    ] if device == "/dev/null" else []
_v4l2.formats = formats
"""


def listed(folder: Path, machine: str, *arguments: str) -> str:
    (folder / "sitecustomize.py").write_text(machine)
    command = [sys.executable, "-m", "henasy_stream.live", "--list-cameras", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_cameras_for_people(tmp_path: Path) -> None:
    assert listed(tmp_path, CAMERAS).splitlines() == [
        "/dev/null  Good One (C920)",
        "  live --camera /dev/v4l/by-id/usb-good",
        "  MJPG 1280x960 at 30 fps",
        "  MJPG 640x480 at 30, 60 fps",
        "  YUYV 640x480 at 30 fps",
        "/dev/zero  hangs",
        "  does not work: no answer within 5 s",
        "/dev/full  unknown",
        "  live --camera /dev/full",
        "  (no name under /dev/v4l/by-id: the number may change when cameras are plugged in anew)",
        "  lists no formats",
        "/dev/gone  x",
        "  does not work: no such camera; there are /dev/null (Good One (C920)), /dev/zero (hangs), "
        "/dev/full (unknown), /dev/gone (x)",
    ]


@pytest.mark.slow
def test_cameras_for_programs(tmp_path: Path) -> None:
    good, hanging, unknown, gone = json.loads(listed(tmp_path, CAMERAS, "--json"))
    assert good.pop("formats")[0] == {"fourcc": "YUYV", "width": 640, "height": 480, "fps": 30}
    name = "/dev/v4l/by-id/usb-good"
    assert good == {"device": "/dev/null", "name": "Good One (C920)", "by_id": name, "problem": ""}
    assert hanging["problem"] == "no answer within 5 s"
    assert unknown["formats"] == []
    assert gone["problem"].startswith("no such camera")
    assert {frozenset(camera) for camera in (hanging, unknown, gone)} == {frozenset([*good, "formats"])}


def test_no_camera(tmp_path: Path) -> None:
    assert "no camera is connected" in listed(tmp_path, NO_CAMERA)
    assert json.loads(listed(tmp_path, NO_CAMERA, "--json")) == []
