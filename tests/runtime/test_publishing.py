"""`--publish`: which addresses go together, and a node whose ROS 2 topics another process sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack

import pytest

from henasy_stream.errors import UserError
from henasy_stream.live import parse
from henasy_stream.runtime.options import LiveOptions
from henasy_stream.runtime.publishing import Publishers, check_publish, open_publishers, publish_lines
from tests.sinks import synthetic


def options(*publish: str, **more: object) -> LiveOptions:
    return LiveOptions(publish=publish, **more)  # type: ignore[arg-type]


class TestOptions:
    def test_one_address_or_several(self):
        base = ["--source", "world"]
        assert parse(base).publish_addresses == ()
        assert parse([*base, "--publish", "ros2"]).publish_addresses == ("ros2",)
        several = [*base, "--publish", "zmq://127.0.0.1:5560", "--publish", "ros2", "--publish", "ros2"]
        assert parse(several).publish_addresses == ("zmq://127.0.0.1:5560", "ros2")

    @pytest.mark.parametrize("line", ["publish: ros2", "publish: [ros2]", "publish:\n  - ros2"])
    def test_of_a_file(self, tmp_path, line):
        (tmp_path / "node.yaml").write_text(line)
        assert parse(["--source", "world", "--config", str(tmp_path / "node.yaml")]).publish_addresses == ("ros2",)

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            (options(publish_remote=True), "--publish-remote: nothing is published"),
            (options("ros2", publish_masks=True), "--publish-masks: ROS 2 gets masks"),
            (options("ros2", publish_frames=True), "--publish-frames: ROS 2 gets masks"),
            (options("zmq://127.0.0.1:5560", "ros2://x?domain=500"), "domain '500'"),
            (options("ros2://a?domain=3", "ros2://b?domain=3"), "ros2://b.*: domain 3 has one already"),
        ],
    )
    def test_what_makes_no_sense(self, given, expected):
        with pytest.raises(UserError, match=expected):
            check_publish(given)

    def test_what_makes_sense(self):
        check_publish(options())
        check_publish(options("zmq://127.0.0.1:5560", "ros2", publish_masks=True, publish_remote=True))


class TestLines:
    def test_each_address_has_one(self, monkeypatch):
        monkeypatch.setenv("ROS_DOMAIN_ID", "3")
        given = options("zmq://127.0.0.1:5560", "ros2://robot1", publish_masks=True)
        assert list(publish_lines(given, entities=True)) == [
            "zmq://127.0.0.1:5560: meta, status, tracks, caption, masks",
            "ROS 2 domain 3: /robot1/henasy_stream/…, for this machine only",
        ]

    def test_without_entities_there_are_no_tracks(self):
        assert list(publish_lines(options("zmq://a:1"), entities=False)) == ["zmq://a:1: meta, status, caption"]

    def test_remote_is_said(self):
        [line] = publish_lines(options("ros2://?domain=1", publish_remote=True), entities=True)
        assert line.endswith("for this machine and its network")


def test_nothing_to_publish_to_is_nothing_to_wait_for():
    assert Publishers().wait_subscribers(0, 0.0)
    assert not Publishers().wait_subscribers(1, 0.01)


def test_zmq_sockets_are_closed_with_the_stack():
    with ExitStack() as stack:
        publishers = open_publishers(options("zmq://127.0.0.1:0", "tcp://127.0.0.1:0"), stack, print)
        assert len(publishers.sinks) == 2
        assert not list(publishers.pictures(synthetic.SPEC, 0))
        assert not publishers.wait_subscribers(1, 0.01)


def test_a_live_node_over_dds_and_its_record_say_the_same(tmp_path):
    pytest.importorskip("cyclonedds", reason="the extra ros2 is not installed")
    from tests.sinks.test_dds import reading

    domain, record = os.getpid() % 90 + 10, tmp_path / "out.jsonl"
    arguments = [
        *("--source", "world?size=160x120&fps=10", "--queries", "cup", "--headless", "--max-frames", "60"),
        *("--max-fps", "40", "--record", str(record), "--wait-subscriber", "1"),
        *("--publish", f"ros2://robot1?domain={domain}", "--publish", "zmq://127.0.0.1:0"),
    ]
    with reading(domain, "~/tracks", "~/caption", "~/masks", "~/label_info") as reader:
        node = subprocess.Popen(
            [sys.executable, "-m", "henasy_stream.live", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        reader.wait(lambda: node.poll() is not None)
        said = node.communicate()[0]
        assert node.returncode == 0, said
        lines = [json.loads(line) for line in record.read_text().splitlines()]
        tracks = [line for line in lines if line["topic"] == "henasy/1/tracks"]
        captions = [line for line in lines if line["topic"] == "henasy/1/caption"]
        reader.wait(lambda: reader.of("~/caption")[-1]["final"])
    assert "not sent 0" in said
    # A reader matches one topic after the other: the first message of one may be before that.
    told = {values["info"]["seq"]: values for values in reader.of("~/tracks")}
    assert len(told) >= len(tracks) - 1 > 2
    for line in tracks[1:]:
        values = told[line["seq"]]
        assert values["header"]["stamp"] == {"sec": line["stamp_ns"] // 10**9, "nanosec": line["stamp_ns"] % 10**9}
        assert [t["id"] for t in values["tracks"]] == [t["id"] for t in line["tracks"]]
        assert [q["text"] for q in values["queries"]] == ["cup"]
    assert [v["text"] for v in reader.of("~/caption")][-1] == captions[-1]["text"]
    masks = reader.of("~/masks")
    assert masks
    assert (masks[-1]["width"], masks[-1]["height"]) == (160, 120)
    shown = {t["mask_index"] for t in told[max(told)]["tracks"]} - {0}
    assert shown & set(masks[-1]["data"])
    assert reader.of("~/label_info")
