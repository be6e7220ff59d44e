"""Silence between a node and its readers is told, once."""

from __future__ import annotations

from henasy_stream.ros.topics import CAPTION, MASKS, TRACKS, Topic
from henasy_stream.sinks.dds_watch import PATIENCE_S, DdsWatch


class Node:
    """A node in a graph of our own making."""

    def __init__(self) -> None:
        self.readers: dict[Topic, int] = {}
        self.policies: dict[Topic, str] = {}

    def listeners(self, topic: Topic) -> int:
        return self.readers.get(topic, 0)

    def refused(self, topic: Topic) -> str | None:
        return self.policies.get(topic)

    def reach(self) -> str:
        return "domain 0 is seen here"


class Scene:
    def __init__(self) -> None:
        self.node, self.lines, self.now = Node(), list[str](), 0.0
        self.watch = DdsWatch(self.node, self.lines.append, monotonic_s=lambda: self.now)

    def look_at(self, now: float) -> None:
        self.now = now
        self.watch.look()


def test_nobody_listens():
    scene = Scene()
    scene.look_at(PATIENCE_S - 0.1)
    assert scene.lines == []
    for later in (0.0, 1.0, 1000.0):
        scene.look_at(PATIENCE_S + later)
    assert scene.lines == ["publish ros2: nobody listens yet; domain 0 is seen here"]


def test_someone_listened_once():
    scene = Scene()
    scene.node.readers = {MASKS: 1}
    scene.look_at(5.0)
    scene.node.readers = {}
    scene.look_at(1000.0)
    assert scene.lines == []


def test_each_topic_whose_reader_is_refused_is_told_once():
    scene = Scene()
    scene.node.policies = {TRACKS: "durability"}
    scene.look_at(1.0)
    scene.node.policies[CAPTION] = "deadline"
    scene.look_at(2.0)
    scene.look_at(3.0)
    assert [line.split(",")[0] for line in scene.lines] == [
        "publish ros2: a reader of ~/tracks gets nothing",
        "publish ros2: a reader of ~/caption gets nothing",
    ]
    assert "another deadline" in scene.lines[1]
