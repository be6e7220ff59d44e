"""Publishing to ROS 2 over DDS, seen by a participant in another process on loopback."""

from __future__ import annotations

import itertools
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from henasy_stream.errors import UserError
from henasy_stream.ros import fields, topics
from henasy_stream.ros.images import mask_image_fields
from henasy_stream.ros.topics import TOPICS
from henasy_stream.ros.type_hash import type_hash
from henasy_stream.sinks import dds
from henasy_stream.sinks.builder import MessageBuilder
from henasy_stream.sinks.dds_address import DdsAddress
from henasy_stream.sinks.dds_node import DdsNode
from henasy_stream.types import Perception, UInt8Array
from tests.sinks import synthetic

pytest.importorskip("cyclonedds", reason="the extra ros2 is not installed")

ROOT = Path(__file__).parents[2]
WAIT_S = 30.0
SPEC = synthetic.SPEC


class Reader:
    """The other process, and the lines that it has printed."""

    def __init__(self, domain: int, *names: str) -> None:
        command = [sys.executable, "-m", "tests.sinks.dds_reader", str(domain), "/robot1", "120", *names]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self.lines: list[dict[str, Any]] = []
        self._rest = ""
        self.wait(lambda: any("ready" in line for line in self.lines))

    def read(self) -> None:
        assert self.process.stdout is not None
        try:
            self._rest += self.process.stdout.read() or ""
        except TypeError:  # nothing there: io.TextIOWrapper is not made for that
            return
        *whole, self._rest = self._rest.split("\n")
        self.lines += [json.loads(line) for line in whole]

    def of(self, name: str) -> list[dict[str, Any]]:
        self.read()
        return [line["values"] for line in self.lines if line.get("topic") == name]

    def wait(self, done: Callable[[], bool], meanwhile: Callable[[], object] = lambda: None) -> None:
        end = time.monotonic() + WAIT_S
        while not done():
            assert time.monotonic() < end, "nothing came"
            assert self.process.poll() is None, "the reader ended"
            meanwhile()
            self.read()
            time.sleep(0.01)


_DOMAINS = itertools.count(os.getpid() % 90 + 100)


@pytest.fixture
def domain() -> int:
    return next(_DOMAINS)


@pytest.fixture
def node(domain: int) -> Iterator[DdsNode]:
    made = DdsNode(DdsAddress(text="ros2", domain=domain, namespace="/robot1"))
    yield made
    made.close()


@contextmanager
def reading(domain: int, *names: str) -> Iterator[Reader]:
    reader = Reader(domain, *names)
    try:
        yield reader
    finally:
        reader.process.kill()
        reader.process.wait()


def draw(perception: Perception) -> UInt8Array:
    return perception.frame.image


def matched(node: DdsNode, reader: Reader, *wanted: topics.Topic) -> None:
    reader.wait(lambda: all(node.listeners(topic) for topic in wanted or TOPICS))


def as_read(value: Any) -> Any:
    """Our fields as JSON gives back what Cyclone DDS has decoded: rounded to 32 bits, bytes as lists."""
    match value:
        case dict():
            return {key: as_read(one) for key, one in value.items()}
        case bytes():
            return list(value)
        case list():
            return [as_read(one) for one in value]
        case float():
            return pytest.approx(value, rel=1e-6)
    return value


def test_every_topic_arrives_as_it_was_sent(node, domain):
    builder = MessageBuilder(SPEC, embeddings=True)
    perception = synthetic.perception()
    sent: list[Any] = [*builder.perception(perception), *builder.heartbeat(synthetic.RUNNING)]
    tracks, caption, status, meta = (
        next(m for m in sent if m.topic.endswith(name)) for name in ("/tracks", "/caption", "/status", "/meta")
    )
    with reading(domain) as reader:
        matched(node, reader)
        dds.DdsSink(node).send(sent)
        dds.DdsPictures(node, draw).write(perception)
        reader.wait(lambda: all(reader.of(topic.name) for topic in TOPICS))
    header = fields.header_fields(meta.published_ns, "")
    expected = {
        topics.TRACKS: fields.tracks_fields(tracks),
        topics.CAPTION: fields.caption_fields(caption),
        topics.DETECTIONS: fields.detections_fields(tracks),
        topics.MASKS: mask_image_fields(perception),
        topics.LABEL_INFO: fields.label_info_fields(SPEC.nouns, header),
        topics.VISION_INFO: fields.vision_info_fields("demo", meta.vocabulary_hash, header),
        topics.DIAGNOSTICS: fields.diagnostics_fields(status, "henasy_stream: stream"),
    }
    for topic, values in expected.items():
        assert reader.of(topic.name) == [as_read(values)], topic.name
    picture = reader.of(topics.DEBUG_IMAGE.name)[0]
    assert bytes(picture["data"][:3]) == b"\xff\xd8\xff"
    assert picture["header"] == {"stamp": {"sec": 2, "nanosec": 0}, "frame_id": "camera"}


def test_discovery_tells_ros_names_types_and_hashes(node, domain):
    with reading(domain, "~/tracks") as reader:
        reader.wait(lambda: sum("writer" in line for line in reader.lines) == len(TOPICS))
    found = {line["writer"]: line for line in reader.lines if "writer" in line}
    for topic in TOPICS:
        package, _, name = topic.type.split("/")
        assert found[f"rt{topic.full_name('/robot1')}"] == {
            "writer": f"rt{topic.full_name('/robot1')}",
            "type": f"{package}::msg::dds_::{name}_",
            "user_data": f"typehash={type_hash(topic.type)};",
            "reliable": True,
            "transient_local": topic.name in ("~/label_info", "~/vision_info"),
        }
    assert "rt/robot1/henasy_stream/tracks" in found


def test_who_comes_late_gets_the_vocabulary_and_no_old_tracks(node, domain):
    builder = MessageBuilder(SPEC)
    sink = dds.DdsSink(node)
    sink.send([*builder.perception(synthetic.perception()), *builder.heartbeat(synthetic.RUNNING)])
    with reading(domain) as reader:
        matched(node, reader)
        reader.wait(lambda: bool(reader.of("~/label_info") and reader.of("~/vision_info")))
        sink.send(builder.perception(synthetic.perception(5)))
        reader.wait(lambda: bool(reader.of("~/tracks")))
    assert [values["info"]["seq"] for values in reader.of("~/tracks")] == [1]
    assert [c["class_name"] for c in reader.of("~/label_info")[0]["class_map"]] == list(SPEC.nouns)


def test_the_vocabulary_is_told_once_a_model(node, domain):
    clock = iter(range(0, 10**12, 2 * 10**9))
    builder = MessageBuilder(SPEC, monotonic_ns=lambda: next(clock))
    sink = dds.DdsSink(node)
    with reading(domain, "~/label_info", "/diagnostics") as reader:
        matched(node, reader, topics.LABEL_INFO, topics.DIAGNOSTICS)
        for _ in range(3):
            sink.send(builder.heartbeat(synthetic.RUNNING))
        builder.set_model(SPEC, ("teapot",))
        sink.send(builder.heartbeat(synthetic.RUNNING))
        reader.wait(lambda: len(reader.of("/diagnostics")) == 4)
        reader.wait(lambda: len(reader.of("~/label_info")) == 2)
    assert [len(values["class_map"]) for values in reader.of("~/label_info")] == [3, 1]


def test_nothing_is_made_that_nobody_listens_to(node, monkeypatch):
    def made(*_: object) -> NoReturn:
        raise AssertionError("made for nobody")

    for name in ("mask_image_fields", "picture_fields"):
        monkeypatch.setattr(dds, name, made)
    monkeypatch.setattr(fields, "tracks_fields", made)
    dds.DdsPictures(node, made).write(synthetic.perception())
    dds.DdsSink(node).send(MessageBuilder(SPEC).perception(synthetic.perception()))


def test_pictures_come_at_a_bounded_rate_and_masks_with_every_result(node, domain):
    now, results = [0.0], list[bool]()
    pictures = dds.DdsPictures(node, draw, monotonic_s=lambda: now[0])
    with reading(domain, "~/masks", "~/debug_image/compressed") as reader:
        matched(node, reader, topics.MASKS, topics.DEBUG_IMAGE)
        for index in range(20):
            now[0] = index * 0.03
            small = synthetic.frame(index, width=64, height=48)
            perception = synthetic.perception(frame=small, stamp_ns=small.stamp_ns, fresh=index % 2 == 0)
            pictures.write(perception)
            results.append(perception.fresh)
            reader.wait(lambda: len(reader.of("~/masks")) == sum(results))
        reader.wait(lambda: len(reader.of("~/debug_image/compressed")) == 5)  # at 0, 0.12, … 0.48 s


def test_a_reader_that_stands_still_holds_nobody_up(node, domain):
    frame = synthetic.frame(0, width=1280, height=720)
    perception = synthetic.perception(frame=frame)
    pictures = dds.DdsPictures(node, draw)
    sink, builder = dds.DdsSink(node), MessageBuilder(SPEC)
    with reading(domain, "~/tracks", "~/masks") as stopped:
        matched(node, stopped, topics.TRACKS, topics.MASKS)
        os.kill(stopped.process.pid, signal.SIGSTOP)
        for _ in range(60):  # 55 MB of masks, far more than any buffer on the way holds
            sink.send(builder.perception(perception))
            pictures.write(perception)
        with reading(domain, "~/tracks") as other:
            other.wait(lambda: node.listeners(topics.TRACKS) == 2)
            other.wait(lambda: bool(other.of("~/tracks")), lambda: sink.send(builder.perception(perception)))
        os.kill(stopped.process.pid, signal.SIGCONT)
        newest = builder.perception(perception)[0].seq
        stopped.wait(
            lambda: any(values["info"]["seq"] > newest for values in stopped.of("~/tracks")),
            lambda: sink.send(builder.perception(perception)),
        )


def test_a_stamp_that_ros_cannot_hold_is_told_once_and_counted(node, domain):
    lines: list[str] = []
    sink = dds.DdsSink(node, on_problem=lines.append)
    far = synthetic.frame(0)
    far = type(far)(image=far.image, stamp_ns=2**62, index=0, source="camera:0", clock="device")
    with reading(domain, "~/tracks", "~/caption") as reader:
        matched(node, reader, topics.TRACKS, topics.CAPTION)
        builder = MessageBuilder(SPEC)
        for _ in range(2):
            sink.send(builder.perception(synthetic.perception(frame=far, stamp_ns=far.stamp_ns)))
        sink.send(builder.perception(synthetic.perception()))
        reader.wait(lambda: bool(reader.of("~/tracks") and reader.of("~/caption")))
    assert len(lines) == 1
    assert "more than 68 years" in lines[0]
    assert sink.not_sent == 4


def test_a_reader_that_asks_for_too_much_is_told_of(node, domain):
    lines: list[str] = []
    sink = dds.DdsSink(node, on_problem=lines.append)
    clock = iter(range(0, 10**15, 2 * 10**9))
    builder = MessageBuilder(SPEC, monotonic_ns=lambda: next(clock))
    with reading(domain, "~/tracks!") as reader:
        reader.wait(lambda: bool(lines), lambda: sink.send(builder.heartbeat(synthetic.RUNNING)))
        sink.send(builder.heartbeat(synthetic.RUNNING))
    assert len(lines) == 1
    assert "a reader of ~/tracks gets nothing, it asks for another durability" in lines[0]


def test_a_closed_node_is_gone_and_its_domain_is_free(domain):
    address = DdsAddress(text="ros2", domain=domain, namespace="/robot1")
    with reading(domain, "~/tracks") as reader:
        for _ in range(2):
            node = DdsNode(address)
            matched(node, reader, topics.TRACKS)
            node.close()
            node.close()
            node.publish(topics.DIAGNOSTICS, {"header": fields.header_fields(0, ""), "status": []})
            assert node.listeners(topics.TRACKS) == 0


def test_closing_waits_for_no_reader_that_stands_still(node, domain):
    with reading(domain, "~/tracks") as reader:
        matched(node, reader, topics.TRACKS)
        os.kill(reader.process.pid, signal.SIGSTOP)
        dds.DdsSink(node).send(MessageBuilder(SPEC).perception(synthetic.perception()))
        before = time.monotonic()
        node.close()
        assert time.monotonic() - before < 5.0  # the reader's lease is ten seconds


def test_two_nodes_of_one_process_in_one_domain_are_refused_in_words(node, domain):
    with pytest.raises(UserError, match=f"ros2: DDS cannot join domain {domain}"):
        DdsNode(DdsAddress(text="ros2", domain=domain))


class TestOnTheNetwork:
    def test_the_users_configuration_counts(self, monkeypatch, domain):
        interface = (
            '<General><Interfaces><NetworkInterface address="127.0.0.1" multicast="true"/></Interfaces></General>'
        )
        monkeypatch.setenv("CYCLONEDDS_URI", f"<CycloneDDS><Domain>{interface}</Domain></CycloneDDS>")
        node = DdsNode(DdsAddress(text="ros2", domain=domain, namespace="/robot1"), allow_remote=True)
        with reading(domain, "~/tracks") as reader:
            matched(node, reader, topics.TRACKS)
        node.close()

    def test_a_configuration_that_makes_no_sense_is_one_line(self, monkeypatch, domain):
        monkeypatch.setenv("CYCLONEDDS_URI", "<CycloneDDS><Domain><Nonsense/></Domain></CycloneDDS>")
        with pytest.raises(UserError, match="check CYCLONEDDS_URI") as error:
            DdsNode(DdsAddress(text="ros2", domain=domain), allow_remote=True)
        assert "\n" not in str(error.value)


def test_nothing_leaves_the_machine(node):
    """What the node sends with is bound to loopback, where the kernel lets nothing out."""
    psutil = pytest.importorskip("psutil")
    bound = {c.laddr.ip for c in psutil.Process().net_connections("udp") if c.laddr}
    assert "127.0.0.1" in bound
    assert bound <= {"127.0.0.1", "0.0.0.0"}


@pytest.mark.parametrize(
    ("machine", "remedy"),
    [("x86_64", r"pip install 'henasy-stream\[ros2\]'"), ("aarch64", "ros2 launch henasy_stream node.launch.py")],
)
def test_without_cyclone_dds_one_line_says_what_to_do(monkeypatch, machine, remedy):
    monkeypatch.setitem(sys.modules, "cyclonedds", None)
    monkeypatch.setitem(sys.modules, "cyclonedds.domain", None)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(UserError, match=remedy) as error:
        DdsNode(DdsAddress(text="ros2", domain=0))
    assert "\n" not in str(error.value)
