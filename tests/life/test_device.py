"""A camera at a cable: the node is a process of its own, its driver a script, the device a file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.life.node import FAKE, ROOT, Node, ids, no_hole, resets


class Cable:
    """A camera and a node that watches it; every test finds both in order."""

    def __init__(self, folder: Path) -> None:
        self.device = folder / "video0"
        self.device.write_text("good")
        environment = {"CAMERA": str(self.device)}
        self.node = Node(folder, "--camera", "0", module="tests.life.scripted_camera", environment=environment)
        self.node.wait_tracks(4)

    def replug(self) -> None:
        """As new: the driver's stamps are trusted again."""
        self.device.unlink()
        self.node.wait_state("SOURCE_LOST")
        self.device.write_text("good")
        self.node.wait_state("RUNNING")
        self.node.wait_tracks(2)
        self.node.mark()


@pytest.fixture(scope="module")
def one_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cable]:
    cable = Cable(tmp_path_factory.mktemp("cable"))
    yield cable
    cable.node.kill()


@pytest.fixture
def cable(one_for_all: Cable) -> Cable:
    one_for_all.replug()
    return one_for_all


def test_unplugged_and_plugged_in_again(cable):
    node = cable.node
    before = node.wait_tracks(5)
    assert {m["stamp_source"] for m in before} == {"device"}
    cable.device.unlink()
    node.wait_state("SOURCE_LOST", "unplugged")
    node.wait_state("SOURCE_LOST", "no such camera")
    told = len(node.messages("tracks"))
    cable.device.write_text("good")
    node.wait_state("RUNNING")
    node.wait_tracks(5)
    before, after = node.messages("tracks")[:told], node.messages("tracks")[told:]
    assert (resets(before), resets(after)) == ([], ["camera reconnected"])
    assert max(ids(before)) < min(ids(after))
    assert {m["stamp_source"] for m in after} == {"device"}
    assert no_hole(node.messages("tracks"))


@pytest.mark.parametrize(("word", "reason"), [("frozen", "frozen"), ("silent", "no picture"), ("hangs", "hangs")])
def test_no_new_picture(cable, word, reason):
    node = cable.node
    cable.device.write_text(word)
    node.wait_state("SOURCE_LOST", reason)
    cable.device.write_text("good")
    node.wait_state("RUNNING")
    node.wait_tracks()
    assert resets(node.messages("tracks")) == ["camera reconnected"]


@pytest.mark.parametrize(("word", "doubt"), [("zero", "are zero"), ("forth", "lie in the future"), ("back", "go back")])
def test_stamps_that_jump(cable, word, doubt):
    node = cable.node
    node.wait_tracks(2)
    cable.device.write_text(word)
    node.wait(lambda: node.messages("tracks")[-1]["stamp_source"] == "receive")
    cable.device.write_text("good")
    node.wait_tracks(5)
    tracks = node.messages("tracks")
    assert tracks[0]["stamp_source"] == "device"
    assert all(b["stamp_ns"] > a["stamp_ns"] for a, b in pairwise(tracks))
    assert resets(tracks) == []
    assert len(ids(tracks)) == 1
    assert node.said.count(f"the driver's stamps {doubt}") == 1


def test_it_still_ends_well(cable):
    assert cable.node.end() == 0
    assert cable.node.statuses[-1] == ("STOPPING", "SIGTERM")


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, who can become somebody else"
)
def test_no_permission():
    device = Path("/dev/video97")
    if device.exists():
        pytest.skip("/dev/video97 is a camera")
    as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    device.touch(0o600)
    try:
        done = subprocess.run(
            [*as_nobody, sys.executable, "-m", FAKE, "--camera", "97", "--headless"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=60,
            check=False,
        )
    finally:
        device.unlink()
    if "Permission denied" in done.stderr and "live:" not in done.stderr:
        pytest.skip("nobody else may read this checkout")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "/dev/video97: no permission to open it; run `sudo usermod -aG video" in done.stderr
