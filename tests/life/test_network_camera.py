"""A camera in the network that does what cameras do; the node is a process of its own and the socket is real."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.life.network_camera import NetworkCamera, cup, plain
from tests.life.node import Node, ids, no_hole, resets


class Waiting:
    """Faults that take ten seconds to be told apart from a pause, all going on at the same time."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self.cameras = {name: NetworkCamera() for name in ("frozen", "silent", "covered")}
        self.nodes = {name: Node(factory.mktemp(name), "--source", camera.url) for name, camera in self.cameras.items()}
        for node in self.nodes.values():
            node.wait_tracks(3)
        self.cameras["frozen"].frozen = True
        self.cameras["silent"].silent = True
        self.cameras["covered"].picture = plain(0)

    def close(self) -> None:
        for node in self.nodes.values():
            node.kill()
        for camera in self.cameras.values():
            camera.unplug()


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Waiting]:
    waiting = Waiting(tmp_path_factory)
    yield waiting
    waiting.close()


def test_a_connection_that_says_nothing(waiting):
    node, camera = waiting.nodes["silent"], waiting.cameras["silent"]
    node.wait_state("SOURCE_LOST", "no picture from the stream")
    connections = camera.connections
    camera.silent = False
    node.wait_state("RUNNING")
    assert camera.connections > connections
    node.wait_tracks()
    assert resets(node.messages("tracks")) == ["stream reconnected"]
    assert node.end() == 0


def test_the_same_picture_for_ever(waiting):
    node, camera = waiting.nodes["frozen"], waiting.cameras["frozen"]
    node.wait_state("SOURCE_LOST", "frozen")
    connections, told = camera.connections, len(node.messages("tracks"))
    node.wait(lambda: camera.connections > connections)
    time.sleep(0.5)
    assert node.statuses[-1][0] == "SOURCE_LOST"
    assert len(node.messages("tracks")) == told
    camera.frozen = False
    node.wait_state("RUNNING")
    node.wait_tracks()
    assert resets(node.messages("tracks")) == ["stream reconnected"]
    assert node.end() == 0


def test_a_covered_lens_and_the_sun(waiting):
    node, camera = waiting.nodes["covered"], waiting.cameras["covered"]
    node.wait_state("RUNNING", "black all over")
    assert ids(node.wait_tracks()) == set()
    camera.picture = cup()
    node.wait_state("RUNNING")
    node.wait(lambda: node.statuses[-1] == ("RUNNING", ""))
    assert ids(node.wait_tracks(5))
    camera.picture = plain(255)
    node.wait_state("RUNNING", "white all over")
    assert {state for state, _ in node.statuses} == {"STARTING", "RUNNING"}
    assert resets(node.messages("tracks")) == []
    assert "black all over" in node.said
    assert "white all over" in node.said
    assert camera.connections == 1
    assert node.end() == 0


def test_a_node_that_waits_for_its_camera_ends_when_it_is_told_to(node, camera):
    running = node("--source", camera.url)
    running.wait_tracks(3)
    camera.unplug()
    running.wait_state("SOURCE_LOST")
    started = time.monotonic()
    assert running.end(signal.SIGTERM) == 0
    assert time.monotonic() - started < 5
    captions = running.messages("caption")
    assert captions[-1]["final"]
    assert "SIGTERM" in running.said


@pytest.fixture(scope="module")
def one_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NetworkCamera, Node]]:
    camera = NetworkCamera()
    running = Node(tmp_path_factory.mktemp("network"), "--source", camera.url)
    running.wait_tracks(3)
    yield camera, running
    running.kill()
    camera.unplug()


@pytest.fixture
def steady(one_for_all: tuple[NetworkCamera, Node]) -> Iterator[tuple[NetworkCamera, Node]]:
    """A node that has watched its camera for a while; every test leaves the camera as it found it."""
    camera, running = one_for_all
    running.wait_tracks(2)
    running.mark()
    yield camera, running
    camera.repeat, camera.fps, camera.picture = 1, 20.0, cup()


def test_a_camera_that_sends_every_picture_twice(steady):
    camera, running = steady
    camera.repeat = 2
    tracks = running.wait_tracks(15)
    assert {state for state, _ in running.statuses} == {"RUNNING"}
    assert resets(tracks) == []
    assert len(ids(tracks)) == 1


def test_five_to_a_hundred_and_twenty_frames_a_second(steady):
    camera, running = steady
    camera.fps = 5
    running.wait_tracks(8)
    before, sent = running.counters["frames_in"], camera.sent
    camera.fps = 120
    running.wait(lambda: running.counters["frames_in"] > before + 240)
    assert running.counters["frames_in"] - before <= camera.sent - sent + 10
    camera.fps = 5
    running.wait_tracks(8)
    tracks = running.messages("tracks")
    assert resets(tracks) == []
    assert len(ids(tracks)) == 1
    assert all(b["stamp_ns"] > a["stamp_ns"] for a, b in pairwise(tracks))


def test_another_resolution_in_mid_stream(steady):
    camera, running = steady
    before = running.wait_tracks(3)
    camera.picture = cup(640, 480)
    running.wait(lambda: running.messages("tracks")[-1]["width"] == 640)
    running.wait_tracks(5)
    assert (before[-1]["width"], before[-1]["height"]) == (320, 240)
    assert resets(running.messages("tracks")) == ["resolution changed to 640x480"]

    def seen_whole() -> bool:  # at the sides the cup leaves the square that the network sees
        after = [m for m in running.messages("tracks") if m["width"] == 640]
        boxes = [t["box_xyxy"] for m in after for t in m["tracks"] if t["state"] == "tracked"]
        return any(90 < x1 - x0 < 150 and 140 < y0 < 180 and 260 < y1 < 300 for x0, y0, x1, y1 in boxes)

    running.wait(seen_whole)


def test_unplugged_and_plugged_in_again(steady):
    camera, running = steady
    running.wait_tracks(5)
    camera.unplug()
    running.wait_state("SOURCE_LOST", "the stream ended")
    running.wait_state("SOURCE_LOST", "no stream there")
    told = len(running.messages("tracks"))
    camera.plug()
    running.wait_state("RUNNING")
    running.wait_tracks(5)
    before, after = running.messages("tracks")[:told], running.messages("tracks")[told:]
    assert (resets(before), resets(after)) == ([], ["stream reconnected"])
    assert max(ids(before)) < min(ids(after))
    assert no_hole(running.messages("tracks"))
    stamps = [m["stamp_ns"] for m in running.messages("tracks")]
    assert stamps == sorted(stamps)
    assert running.end() == 0
    assert running.statuses[-1] == ("STOPPING", "SIGTERM")
