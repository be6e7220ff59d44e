"""The record as MCAP: what stands in it, as others read it, and what is left of it when something goes wrong."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import tracemalloc
from collections import defaultdict
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from henasy_stream.errors import UserError
from henasy_stream.sinks import convert, foxglove, mcap, wire
from henasy_stream.sinks.builder import MessageBuilder
from henasy_stream.sinks.mcap import McapSink
from henasy_stream.sinks.mcap_stream import ANNOTATIONS_TOPIC, IMAGE_TOPIC, MASKS_TOPIC, McapStream, Timeline
from henasy_stream.sinks.messages import Message, Tracks
from henasy_stream.sources import open_source
from henasy_stream.types import Frame, Perception
from tests.sinks import synthetic

reader = pytest.importorskip("mcap.reader", reason="the extra bag is not installed")
typesys = pytest.importorskip("rosbags.typesys", reason="the extra bag is not installed")

ROOT = Path(__file__).parents[2]
TYPES = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
UNIX_NS = 1_700_000_000_000_000_000


def record(path: Path, count: int = 3, **options: Any) -> list[Message]:
    """Steps and beats as a node sends them; returns the messages."""
    sent: list[Message] = []
    builder, sink = MessageBuilder(synthetic.SPEC, masks=True, frame=True), McapSink(path, **options)
    for i in range(count):
        perception = synthetic.perception(i)
        for batch in (builder.perception(perception), builder.heartbeat(synthetic.RUNNING)):
            sink.send(batch)
            sent += batch
        sink.write(perception)
    sink.close()
    return sent


def channels(data: bytes) -> dict[str, list[Any]]:
    """(schema, channel, message) by topic, read by MCAP's own reader, sums checked."""
    found = defaultdict(list)
    for schema, channel, message in reader.make_reader(io.BytesIO(data), validate_crcs=True).iter_messages():
        found[channel.topic].append((schema, channel, message))
    return found


def whole_records(data: bytes) -> bool:
    """Whether the file ends where a record does."""
    at = 8
    while at < len(data):
        at += 9 + int.from_bytes(data[at + 1 : at + 9], "little")
    return at == len(data)


def image_messages(data: bytes, topic: str = IMAGE_TOPIC) -> list[Any]:
    return [TYPES.deserialize_cdr(m.data, schema.name) for schema, _, m in channels(data)[topic]]


# What stands in it


def test_every_message_as_the_line_of_a_jsonl_record(tmp_path: Path) -> None:
    sent = record(tmp_path / "r.mcap")
    found = channels((tmp_path / "r.mcap").read_bytes())
    for topic in {message.topic for message in sent}:
        lines = [m.data for _, channel, m in found[topic] if channel.message_encoding == "json"]
        assert [wire.from_json_line(line) for line in lines] == [m for m in sent if m.topic == topic]
        assert [m.sequence for _, _, m in found[topic]] == [m.seq for m in sent if m.topic == topic]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(synthetic.perceptions, min_size=1, max_size=3))
def test_everything_fits_the_schema_that_stands_beside_it(perceptions: list[Perception]) -> None:
    out, builder = io.BytesIO(), MessageBuilder(synthetic.SPEC)
    stream = McapStream(out)
    for perception in perceptions:
        stream.messages(builder.perception(perception))
        stream.frame(perception.frame, convert.jpeg(perception.frame))
        stream.masks(perception)
    stream.messages(builder.heartbeat(synthetic.RUNNING))
    stream.finish()
    for topic, entries in channels(out.getvalue()).items():
        for schema, channel, message in entries:
            if channel.message_encoding == "json":
                jsonschema.Draft202012Validator(json.loads(schema.data)).validate(json.loads(message.data))
                if topic in synthetic.VALIDATORS:
                    synthetic.VALIDATORS[topic].validate(json.loads(message.data))
            else:
                TYPES.deserialize_cdr(message.data, schema.name)


def plain_problem(schema: dict[str, Any], where: str = "$") -> str | None:
    """Why Foxglove's reader of JSON Schema (`parseJsonSchema`) would refuse it; None if it takes it."""
    if schema.get("type") != "object" or not isinstance(schema.get("properties"), dict):
        return f"{where}: no object with properties"
    for key, value in schema["properties"].items():
        at = f"{where}.{key}"
        if "oneOf" in value:
            if not all(isinstance(one.get("const"), int) and one.get("title") for one in value["oneOf"]):
                return f"{at}: alternatives that are not numbers with names"
            continue
        item = value.get("items", {}) if value.get("type") == "array" else value
        if item.get("type") == "object":
            problem = plain_problem(item, at)
            if problem:
                return problem
        elif item.get("type") not in ("boolean", "string", "number", "integer"):
            return f"{at}: type {item.get('type')!r}"
    return None


def test_foxglove_takes_the_schemas(tmp_path: Path) -> None:
    record(tmp_path / "r.mcap")
    entries = channels((tmp_path / "r.mcap").read_bytes())
    schemas = {e[0][0].name: json.loads(e[0][0].data) for e in entries.values() if e[0][0].encoding == "jsonschema"}
    assert {name: plain_problem(schema) for name, schema in schemas.items()} == dict.fromkeys(
        (
            "foxglove.ImageAnnotations",
            *("henasy.Tracks", "henasy.Caption", "henasy.Masks", "henasy.Frame", "henasy.Meta", "henasy.Status"),
        )
    )
    assert {"id", "label", "score", "box_xyxy", "hypotheses"} <= set(
        schemas["henasy.Tracks"]["properties"]["tracks"]["items"]["properties"]
    )
    assert plain_problem(synthetic.SCHEMAS["tracks.json"]) is not None  # so that the check can fail


def test_boxes_labels_relations_and_the_caption_are_annotations(tmp_path: Path) -> None:
    record(tmp_path / "r.mcap", 1)
    ((_, _, message),) = channels((tmp_path / "r.mcap").read_bytes())[ANNOTATIONS_TOPIC]
    drawn = json.loads(message.data)
    box, _, line = drawn["points"]
    assert [(p["x"], p["y"]) for p in box["points"]] == [
        (10.5, 20.25),
        (110.5, 20.25),
        (110.5, 220.25),
        (10.5, 220.25),
    ]
    assert box["type"] == 2
    assert line["type"] == 4
    assert [text["text"] for text in drawn["texts"]] == ["cup 1 75%", "knife 2 75%", "picks up", "picks up a cup 62%"]
    assert all(0 <= text["position"]["y"] <= synthetic.HEIGHT for text in drawn["texts"])


def test_what_is_lost_is_told_and_soon_left_out() -> None:
    tracks = (
        synthetic.track(1, state="lost", last_seen_ns=3 * synthetic.PERIOD_NS),
        synthetic.track(2, state="lost", last_seen_ns=-1_000_000_000),
        synthetic.track(4, state="removed"),
    )
    (message,) = MessageBuilder(synthetic.SPEC).perception(synthetic.perception(tracks=tracks, caption=None))
    assert isinstance(message, Tracks)
    drawn = foxglove.image_annotations(message, None, UNIX_NS, synthetic.HEIGHT)
    assert [text["text"] for text in drawn["texts"]] == ["cup 1 lost"]
    assert drawn["points"][0]["outline_color"]["a"] == 0.4


def test_frames_and_masks_are_messages_of_ros(tmp_path: Path) -> None:
    record(tmp_path / "r.mcap", frames=True)
    data = (tmp_path / "r.mcap").read_bytes()
    images, masks = image_messages(data), image_messages(data, MASKS_TOPIC)
    annotations = [json.loads(m.data) for _, _, m in channels(data)[ANNOTATIONS_TOPIC]]
    assert len(images) == len(masks) == len(annotations) == 3
    for i, (image, mask, drawn) in enumerate(zip(images, masks, annotations, strict=True)):
        assert bytes(image.data) == convert.jpeg(synthetic.frame(i))
        assert (image.format, image.header.frame_id, mask.format) == ("jpeg", "camera", "png")
        stamp = {"sec": image.header.stamp.sec, "nsec": image.header.stamp.nanosec}
        # Foxglove lays annotations on the image of exactly their stamp.
        assert all(part["timestamp"] == stamp for part in drawn["points"] + drawn["texts"])


def test_without_frames_there_are_none(tmp_path: Path) -> None:
    record(tmp_path / "r.mcap")
    assert IMAGE_TOPIC not in channels((tmp_path / "r.mcap").read_bytes())


def test_masks_of_a_repeated_result_are_not_written_again(tmp_path: Path) -> None:
    sink = McapSink(tmp_path / "r.mcap", frames=True)
    sink.write(synthetic.perception(0))
    sink.write(synthetic.perception(1, fresh=False))
    sink.close()
    found = channels((tmp_path / "r.mcap").read_bytes())
    assert (len(found[IMAGE_TOPIC]), len(found[MASKS_TOPIC])) == (2, 1)


@settings(deadline=None)
@given(st.text(max_size=9), st.text(max_size=9), st.binary(max_size=9), st.integers(0, (2**31 - 1) * 10**9))
def test_any_frame_id_and_any_bytes(frame_id: str, format: str, data: bytes, stamp_ns: int) -> None:
    from henasy_stream.sinks.foxglove import COMPRESSED_IMAGE, compressed_image

    message = TYPES.deserialize_cdr(compressed_image(stamp_ns, frame_id, format, data), COMPRESSED_IMAGE)
    assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == stamp_ns
    assert message.header.frame_id == frame_id.encode("utf-8", "replace").split(b"\0")[0].decode()
    assert message.format == format.encode("utf-8", "replace").split(b"\0")[0].decode()
    assert bytes(message.data) == data


def test_a_recording_is_a_source(tmp_path: Path) -> None:
    record(tmp_path / "r.mcap", frames=True)
    with open_source(str(tmp_path / "r.mcap")) as source:
        frames = list(source)
    assert [f.stamp_ns - frames[0].stamp_ns for f in frames] == [i * synthetic.PERIOD_NS for i in range(3)]
    for i, frame in enumerate(frames):
        assert np.abs(frame.image.astype(int) - synthetic.frame(i).image).max() <= 3  # JPEG
        assert (frame.clock, frame.frame_id, frame.reset) == ("unix", "camera", None)


# Time


def test_stamps_since_1970_stay() -> None:
    timeline = Timeline()
    assert timeline.of_frame(UNIX_NS, "unix", "device", UNIX_NS + 7) == UNIX_NS
    assert timeline.of_node(UNIX_NS + 9) == UNIX_NS + 9


def test_stamps_of_a_file_keep_their_distances_however_fast_it_is_read() -> None:
    timeline = Timeline()
    assert timeline.of_node(UNIX_NS - 5) == UNIX_NS - 5
    assert timeline.of_frame(0, "media", "file", UNIX_NS) == UNIX_NS
    assert timeline.of_frame(3_000_000_000, "media", "file", UNIX_NS + 1) == UNIX_NS + 3_000_000_000
    assert timeline.of_node(UNIX_NS + 2) == UNIX_NS + 3_000_000_000


def test_a_live_source_that_says_nothing_does_not_stop_the_status() -> None:
    timeline = Timeline()
    assert timeline.of_frame(50, "monotonic", "device", UNIX_NS) == UNIX_NS
    assert timeline.of_node(UNIX_NS + 60_000_000_000) == UNIX_NS + 60_000_000_000
    assert timeline.of_frame(150, "monotonic", "receive", UNIX_NS + 999) == UNIX_NS + 100


@settings(deadline=None)
@given(synthetic.stamps, st.sampled_from(["unix", "monotonic", "media", "device"]), st.integers(0, 2**64))
def test_every_time_can_be_held(stamp_ns: int, clock: Any, told_ns: int) -> None:
    at = Timeline().of_frame(stamp_ns, clock, "device", told_ns)
    assert 0 <= at < 2**31 * 10**9


# What is left of it


def test_what_was_written_before_the_last_flush_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcap, "FLUSH_S", 0.0)
    path = tmp_path / "r.mcap"
    sink = McapSink(path, frames=True)
    for i in range(3):
        sink.write(synthetic.perception(i))
    with open_source(str(path)) as source:
        assert len(list(source)) == 3
        assert "cut off" in source.notices[0]
    sink.close()
    with open_source(str(path)) as source:
        assert len(list(source)) == 3
        assert source.notices == ()


def test_a_killed_process_leaves_all_but_the_last_seconds(tmp_path: Path) -> None:
    path = tmp_path / "r.mcap"
    code = f"""
        import time
        from henasy_stream.sinks import mcap
        from tests.sinks import synthetic
        mcap.FLUSH_S = 0.2
        sink = mcap.McapSink({str(path)!r}, frames=True)
        for i in range(1_000_000):
            sink.write(synthetic.perception(i))
            if i % 10 == 0:
                print(i, flush=True)
            time.sleep(0.002)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while path.stat().st_size < 20_000 if path.exists() else True:
            written = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    with open_source(str(path)) as source:
        frames = list(source)
    assert len(frames) > 0
    assert [f.stamp_ns - frames[0].stamp_ns for f in frames] == [i * synthetic.PERIOD_NS for i in range(len(frames))]
    assert written > 0


def test_replaces_a_file_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "r.mcap"
    path.write_bytes(b"old" * 100_000)
    record(path)
    assert channels(path.read_bytes())["henasy/1/tracks"]


def test_nothing_was_sent(tmp_path: Path) -> None:
    McapSink(tmp_path / "r.mcap").close()
    assert channels((tmp_path / "r.mcap").read_bytes()) == {}


def test_close_twice_and_send_after_it(tmp_path: Path) -> None:
    sink = McapSink(tmp_path / "r.mcap", frames=True)
    sink.close()
    sink.close()
    sink.write(synthetic.perception(0))
    sink.send(MessageBuilder(synthetic.SPEC).perception(synthetic.perception(0)))
    assert sink.not_sent == 2


@pytest.mark.parametrize("place", ["no/such/folder/r.mcap", ".", "/proc/r.mcap"])
def test_refuses_a_place_where_it_cannot_write(tmp_path: Path, place: str) -> None:
    with pytest.raises(UserError) as caught:
        McapSink(tmp_path / place)
    assert str(caught.value).startswith(f"record {tmp_path / place}: ")
    assert "\n" not in str(caught.value)


def test_a_disk_that_gets_full_completes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, problems = tmp_path / "r.mcap", list[str]()
    monkeypatch.setattr(mcap, "FLUSH_S", 0.0)
    sink, builder = McapSink(path, on_problem=problems.append), MessageBuilder(synthetic.SPEC)
    sink.send(builder.perception(synthetic.perception(0)))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    for i in (1, 2, 3):
        sink.send(builder.perception(synthetic.perception(i)))
    sink.close()
    assert problems == [sink.problem]
    assert f"record {path}: the disk is full; the recording is complete up to here." in problems[0]
    assert sink.not_sent == 4
    assert len(channels(path.read_bytes())["henasy/1/tracks"]) == 2
    with pytest.raises(UserError, match="the disk is full"):
        McapSink(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_device_that_takes_nothing() -> None:
    with pytest.raises(UserError, match="No space left on device"):
        McapSink("/dev/full")


def test_a_file_that_may_not_grow_can_be_read_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "r.mcap"
    code = f"""
        import resource, signal
        from henasy_stream.sinks import mcap
        from tests.sinks import synthetic
        mcap.FLUSH_S = 0.0
        sink = mcap.McapSink({str(path)!r}, frames=True, on_problem=print)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        for i in range(30):
            sink.write(synthetic.perception(i))
        sink.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        f"record {path}: File too large; what was recorded before can be read. Make room and start again with another "
        "--record file"
    ]
    assert path.stat().st_size <= 20_000
    assert whole_records(path.read_bytes())
    with open_source(str(path)) as source:
        assert 1 < len(list(source)) < 30


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    sink = McapSink(tmp_path / "r.mcap", frames=True)
    random = np.random.default_rng(0)
    tracemalloc.start()
    try:
        peaks = []
        for i in range(2):
            for j in range(100):
                noise = random.integers(0, 256, (240, 320, 3), np.uint8)
                frame = Frame(image=noise, stamp_ns=(100 * i + j) * 10**8, index=100 * i + j, source="noise")
                sink.write(synthetic.perception(frame=frame, stamp_ns=frame.stamp_ns))
            peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    sink.close()
    assert (tmp_path / "r.mcap").stat().st_size > 8_000_000
    assert peaks[1] < 8_000_000
    assert peaks[1] - peaks[0] < 1_000_000


def test_without_the_extra_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcap.writer", None)
    with pytest.raises(UserError, match=r"pip install 'henasy-stream\[bag\]'"):
        McapSink(tmp_path / "r.mcap")
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - names are enough
