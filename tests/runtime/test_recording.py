"""`--record out.mcap` and `--source bag:`, by nodes of their own processes."""

from __future__ import annotations

import io
import itertools
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from henasy_stream.errors import UserError
from henasy_stream.runtime.options import LiveOptions
from henasy_stream.runtime.recording import check_record, open_record
from henasy_stream.sinks.jsonl import JsonlSink
from henasy_stream.sources import open_source
from tests.life.node import Node, no_hole, resets
from tests.sources.bags import SECOND, regular, write_bag

reader = pytest.importorskip("mcap.reader", reason="the extra bag is not installed")
pytest.importorskip("rosbags", reason="the extra bag is not installed")

WORLD = "world?size=320x240"


@contextmanager
def recording(folder: Path, *arguments: str) -> Iterator[Node]:
    node = Node(folder, "--source", WORLD, "--record-frames", *arguments, record=folder / "r.mcap")
    try:
        yield node
    finally:
        node.kill()


def grown(node: Node, size: int) -> None:
    deadline = time.monotonic() + 60
    while not node.record.exists() or node.record.stat().st_size < size:
        assert node.process.poll() is None, node.said
        assert time.monotonic() < deadline, node.said
        time.sleep(0.05)


def messages(data: bytes, topic: str) -> list[dict[str, Any]]:
    found = reader.make_reader(io.BytesIO(data), validate_crcs=True).iter_messages(f"henasy/1/{topic}")
    return [json.loads(message.data) for _, _, message in found]


def test_ctrl_c_completes_the_file(tmp_path: Path) -> None:
    with recording(tmp_path) as node:
        grown(node, 50_000)
        assert node.end(signal.SIGINT) == 0
        data = node.record.read_bytes()
        assert messages(data, "status")[-1]["state"] == "STOPPING"
        assert len(messages(data, "tracks")) == messages(data, "tracks")[-1]["seq"] + 1
        assert "record    " in node.said
        assert "r.mcap with frames" in node.said


def test_a_killed_node_leaves_a_recording_that_can_be_replayed(tmp_path: Path) -> None:
    with recording(tmp_path) as node:
        grown(node, 200_000)
        node.process.send_signal(signal.SIGKILL)
        node.process.wait(20)
    with open_source(f"bag:{node.record}") as source:
        frames = list(source)
        assert "it was cut off" in source.notices[0]
    assert len(frames) > 20
    assert {frame.stamp_ns - before.stamp_ns for before, frame in itertools.pairwise(frames)} <= {
        33_333_333,
        33_333_334,
    }


@pytest.mark.slow
def test_a_recording_that_is_replayed_gives_the_same_messages_and_is_not_overwritten(tmp_path: Path) -> None:
    with recording(tmp_path, "--max-frames", "60") as node:
        assert node.process.wait(60) == 0, node.said
    again = Node(tmp_path, "--source", str(node.record))
    assert again.process.wait(60) == 0, again.said
    first, second = messages(node.record.read_bytes(), "tracks"), again.messages("tracks")
    assert len(first) == len(second) > 2
    for one, other in zip(first, second, strict=True):
        assert one["frame_index"] == other["frame_index"]
        assert one["stamp_ns"] - first[0]["stamp_ns"] == other["stamp_ns"] - second[0]["stamp_ns"]
        assert (one["width"], other["clock"], other["source"]) == (320, "unix", str(node.record))

    before = node.record.read_bytes()
    again = Node(tmp_path, "--source", f"bag:{node.record}?topic=/henasy/image/compressed", record=node.record)
    assert again.process.wait(60) == 2
    assert f"--record {node.record}: is the source as well; name another file" in again.said
    assert node.record.read_bytes() == before


def test_a_bag_with_a_gap_and_one_that_starts_over(tmp_path: Path) -> None:
    late = [
        replace(one, stamp_ns=one.stamp_ns + shift * SECOND, logged_ns=one.logged_ns + (20 + shift) * SECOND)
        for shift in (20, 5)
        for one in regular(25)
        if one.stamp_ns is not None
    ]
    node = Node(tmp_path, "--source", f"bag:{write_bag(tmp_path / 'bag', [*regular(25), *late])}")
    assert node.process.wait(60) == 0, node.said
    tracks = node.messages("tracks")
    assert resets(tracks) == ["gap of 17.600 s", "the bag's time jumps back by 17.4 s"]
    assert {(m["clock"], m["stamp_source"], m["frame_id"]) for m in tracks} == {("unix", "file", "head")}
    assert no_hole(tracks)


def test_the_end_of_the_name_chooses_the_format(tmp_path: Path) -> None:
    sink, pictures = open_record(LiveOptions(record=str(tmp_path / "r.jsonl")), print)
    assert isinstance(sink, JsonlSink)
    assert pictures is None
    sink.close()
    sink, pictures = open_record(LiveOptions(record=str(tmp_path / "R.MCAP")), print)
    assert sink is pictures
    assert sink is not None
    sink.close()
    assert open_record(LiveOptions(), print) == (None, None)


@pytest.mark.parametrize("record", [None, "r.jsonl"])
def test_frames_need_mcap(record: str | None) -> None:
    with pytest.raises(UserError, match=r"--record-frames: only MCAP holds pictures; add --record out\.mcap"):
        check_record(LiveOptions(record=record, record_frames=True))
