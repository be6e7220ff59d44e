"""Bags of ROS 2, written by the package rosbags: whole, cut off, compressed, with gaps and with wrong images."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from henasy_stream.errors import UserError
from henasy_stream.sources import open_source
from henasy_stream.sources.bag import COMPRESSED_IMAGE, IMAGE
from henasy_stream.sources.bag_files import Record
from henasy_stream.sources.bag_messages import DETECTIONS, Decoder, NoMessage
from henasy_stream.types import Frame
from tests.sources.bags import PERIOD_NS, SECOND, START_NS, Sent, picture, regular, write_bag

pytest.importorskip("rosbags", reason="the extra bag is not installed")
pytest.importorskip("mcap", reason="the extra bag is not installed")

DECODE = Decoder()
Storage = Literal["sqlite3", "mcap"]
Compression = Literal["none", "file", "message", "storage"]
STORAGES: list[Storage] = ["sqlite3", "mcap"]
FORMS: list[tuple[Storage, Compression]] = [
    ("sqlite3", "none"),
    ("sqlite3", "file"),
    ("sqlite3", "message"),
    ("mcap", "none"),
    ("mcap", "file"),
    ("mcap", "message"),
    ("mcap", "storage"),
]


def read(uri: str | Path) -> tuple[list[Frame], tuple[str, ...]]:
    with open_source(f"bag:{uri}") as source:
        frames = list(source)
        return frames, source.notices


def refused(uri: str | Path) -> str:
    with pytest.raises(UserError) as caught:
        open_source(f"bag:{uri}")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def storage_file(bag: Path) -> Path:
    (found,) = (path for path in bag.iterdir() if path.name != "metadata.yaml")
    return found


@pytest.mark.parametrize(("storage", "compression"), FORMS)
@pytest.mark.parametrize("of", ["folder", "file"])
def test_every_frame_in_order_with_its_own_stamp(
    tmp_path: Path, storage: Storage, compression: Compression, of: str
) -> None:
    bag = write_bag(tmp_path / "bag", regular(7), storage=storage, compression=compression)
    frames, notices = read(bag if of == "folder" else storage_file(bag))
    assert [frame.stamp_ns for frame in frames] == [START_NS + i * PERIOD_NS for i in range(7)]
    assert [frame.index for frame in frames] == list(range(7))
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.image, picture(i))
    first = frames[0]
    assert (first.clock, first.stamp_source, first.frame_id, first.reset) == ("unix", "file", "head", None)
    assert first.source == f"bag:{bag if of == 'folder' else storage_file(bag)}"
    assert notices == ()


def test_a_bag_file_needs_no_scheme(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", regular(2))
    with open_source(str(storage_file(bag))) as source:
        assert len(list(source)) == 2


@pytest.mark.parametrize("storage", STORAGES)
def test_compressed_images(tmp_path: Path, storage: Storage) -> None:
    sent = regular(3, encoding="bgr8; png compressed bgr8", topic="/camera/image_raw/compressed")
    for one in sent:
        one.image = cv2.imencode(".png", np.asarray(one.image)[:, :, ::-1])[1].tobytes()
    frames, _ = read(write_bag(tmp_path / "bag", sent, storage=storage))
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.image, picture(i))


def test_several_files_of_one_bag_are_read_one_after_the_other(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    for i in (0, 1, 2, 10):
        part = write_bag(tmp_path / f"part{i}", regular(12)[i : i + 1])
        shutil.copy(storage_file(part), whole / f"bag_{i}.mcap")
    frames, _ = read(whole)
    assert [frame.stamp_ns for frame in frames] == [START_NS + i * PERIOD_NS for i in (0, 1, 2, 10)]


# Which topic


def two_topics(folder: Path) -> Path:
    return write_bag(folder, regular(2) + regular(1, topic="/camera/depth", encoding="32FC1"))


def test_a_topic_is_chosen_when_there_are_two(tmp_path: Path) -> None:
    bag = two_topics(tmp_path / "bag")
    assert refused(bag) == (
        f"bag:{bag}: 2 topics of that kind; choose one, as 'bag:{bag}?topic=/camera/depth': "
        "/camera/depth (sensor_msgs/msg/Image, 1 messages), /camera/image_raw (sensor_msgs/msg/Image, 2 messages)"
    )
    frames, _ = read(f"{bag}?topic=/camera/image_raw")
    assert len(frames) == 2
    assert len(read(f"{bag}?topic=camera/image_raw")[0]) == 2


@pytest.mark.parametrize(
    ("topic", "told"),
    [
        ("/camera/image", "no topic /camera/image; did you mean /camera/image_raw? its topics are: /camera/depth ("),
        ("/imu", "/imu holds std_msgs/msg/String, 3 messages; give one of type sensor_msgs/msg/Image or"),
        ("/camera/depth", "encoding '32FC1' holds depth or other measurements, no picture"),
        ("", "no topic is named"),
    ],
)
def test_a_topic_that_does_not_fit(tmp_path: Path, topic: str, told: str) -> None:
    assert told in refused(f"{two_topics(tmp_path / 'bag')}?topic={topic}")


def test_an_option_that_is_none(tmp_path: Path) -> None:
    told = refused(f"{two_topics(tmp_path / 'bag')}?topics=/a")
    assert "unknown option 'topics' of a bag; the only one is topic" in told


def test_no_image_topic(tmp_path: Path) -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS2_JAZZY)
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for i in range(14):
            connection = writer.add_connection(f"/topic{i:02}", "std_msgs/msg/String", typestore=types)
            string = types.types["std_msgs/msg/String"](data="x")
            writer.write(connection, i, types.serialize_cdr(string, "std_msgs/msg/String"))
    told = refused(tmp_path / "bag")
    assert "no Image in it that can be read; its topics are: /topic00 (std_msgs/msg/String, 1 messages), " in told
    assert told.endswith("and 2 more")


# Stamps


def test_zero_stamps_are_replaced_by_the_bags_own_time(tmp_path: Path) -> None:
    sent = regular(3)
    for one in sent:
        one.stamp_ns = None
    frames, notices = read(write_bag(tmp_path / "bag", sent))
    assert [frame.stamp_ns for frame in frames] == [one.logged_ns for one in sent]
    assert frames[0].clock == "unix"
    (notice,) = notices
    assert "/camera/image_raw has images without a stamp; the bag's own time takes its place" in notice


def test_simulated_time_is_no_time_since_1970(tmp_path: Path) -> None:
    sent = regular(3)
    for i, one in enumerate(sent):
        one.stamp_ns = (5 + i) * SECOND
    frames, _ = read(write_bag(tmp_path / "bag", sent))
    assert [(frame.stamp_ns, frame.clock) for frame in frames] == [((5 + i) * SECOND, "device") for i in range(3)]


def test_repeated_and_swapped_images_are_left_out_and_told(tmp_path: Path) -> None:
    sent = [regular(6)[i] for i in (0, 1, 1, 3, 2, 4, 5)]
    for i, one in enumerate(sent):
        sent[i] = Sent(image=one.image, stamp_ns=one.stamp_ns, logged_ns=START_NS + i)
    frames, notices = read(write_bag(tmp_path / "bag", sent))
    assert [(frame.stamp_ns - START_NS) // PERIOD_NS for frame in frames] == [0, 1, 3, 4, 5]
    assert [frame.reset for frame in frames] == [None] * 5
    assert any("2 images were not newer than the one before" in notice for notice in notices)


def test_a_jump_back_starts_afresh(tmp_path: Path) -> None:
    sent = regular(20)
    again = [Sent(image=one.image, stamp_ns=one.stamp_ns, logged_ns=one.logged_ns + 2 * SECOND) for one in sent]
    frames, _ = read(write_bag(tmp_path / "bag", sent + again))
    assert len(frames) == 40
    assert {i: frame.reset for i, frame in enumerate(frames) if frame.reset} == {
        20: "the bag's time jumps back by 1.9 s"
    }


def test_another_size_starts_afresh(tmp_path: Path) -> None:
    sent = regular(3)
    sent[2].image = picture(2, 20, 10)
    frames, _ = read(write_bag(tmp_path / "bag", sent))
    assert [frame.reset for frame in frames] == [None, None, "resolution changed to 20x10"]


# Images that are none


def test_images_that_cannot_be_decoded_are_left_out_and_counted(tmp_path: Path) -> None:
    sent = regular(6)
    sent[1].changes = {"step": 3}
    sent[2].encoding = "rgb88"
    sent[4].changes = {"data": np.zeros(5, np.uint8)}
    frames, notices = read(write_bag(tmp_path / "bag", sent))
    assert [(frame.stamp_ns - START_NS) // PERIOD_NS for frame in frames] == [0, 3, 5]
    assert "16x12 of rgb8: step is 3 bytes, but a row of 16 pixels has 48: left out" in notices[0]
    assert "3 of 6 images left out" in notices[1]


def test_no_image_that_can_be_decoded(tmp_path: Path) -> None:
    told = refused(write_bag(tmp_path / "bag", regular(3, encoding="bgr")))
    assert "/camera/image_raw: encoding 'bgr' is not known; did you mean bgr8?" in told
    assert told.endswith("none of the 3 images can be decoded")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([IMAGE, COMPRESSED_IMAGE, DETECTIONS]), st.binary(max_size=60))
def test_bytes_that_are_no_message(kind: str, data: bytes) -> None:
    with pytest.raises(NoMessage):
        DECODE(Record(topic="/a", logged_ns=0, data=b"\xff" + data), kind)


# Cut off and damaged


def rewritten(path: Path, **options: Any) -> Path:
    """The same messages, written by MCAP's own package."""
    from mcap.reader import make_reader
    from mcap.writer import Writer

    other = path.with_name("rewritten.mcap")
    with path.open("rb") as file, other.open("wb") as out:
        writer = Writer(out, **options)
        writer.start("ros2")
        channels: dict[int, int] = {}
        for schema, channel, message in make_reader(file).iter_messages():
            assert schema is not None
            if channel.id not in channels:
                number = writer.register_schema(schema.name, schema.encoding, schema.data)
                channels[channel.id] = writer.register_channel(channel.topic, channel.message_encoding, number)
            writer.add_message(channels[channel.id], message.log_time, message.data, message.publish_time)
        writer.finish()
    return other


def long_bag(folder: Path, storage: Storage, compression: Compression = "none") -> Path:
    """Of several chunks or pages, each image of noise, so that nothing gets small."""
    sent = regular(60)
    for i, one in enumerate(sent):
        one.image = np.random.default_rng(i).integers(0, 256, (200, 200, 3), np.uint8)
    return storage_file(write_bag(folder, sent, storage=storage, compression=compression))


@pytest.mark.parametrize(("storage", "compression"), FORMS)
def test_cut_off_anywhere(tmp_path: Path, storage: Storage, compression: Compression) -> None:
    path = long_bag(tmp_path / "bag", storage, compression)
    data = path.read_bytes()
    before = -1
    for share in (0.3, 0.6, 0.9, 0.9999):
        path.write_bytes(data[: int(share * len(data))])
        frames, notices = read(path)
        assert before < len(frames) <= 60
        assert len(frames) >= 60 * share - 12  # a chunk is a megabyte, nine images
        before = len(frames) - 1
        assert [(f.stamp_ns - START_NS) // PERIOD_NS for f in frames] == list(range(len(frames)))
        assert len([n for n in notices if "cut off" in n or "damaged" in n]) == 1


@pytest.mark.parametrize("storage", STORAGES)
def test_cut_off_before_the_first_image(tmp_path: Path, storage: Storage) -> None:
    path = long_bag(tmp_path / "bag", storage)
    path.write_bytes(path.read_bytes()[:3000])
    assert str(path) in refused(path)


def test_a_damaged_chunk_is_left_out(tmp_path: Path) -> None:
    path = rewritten(long_bag(tmp_path / "bag", "mcap"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    frames, notices = read(path)
    assert 45 <= len(frames) < 60
    assert frames[-1].stamp_ns == START_NS + 59 * PERIOD_NS
    assert f"{path}: 1 of its chunks are damaged and left out" in notices


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FORMS), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_bytes_changed_at_random(
    tmp_path: Path, form: tuple[Storage, Compression], changes: list[tuple[float, int]]
) -> None:
    """Whatever is in the file: frames, or one line that says why there are none."""
    kept = tmp_path / f"{form[0]}-{form[1]}"
    if not kept.exists():
        write_bag(kept, regular(5), storage=form[0], compression=form[1])
    data = bytearray(storage_file(kept).read_bytes())
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    path = tmp_path / storage_file(kept).name
    path.write_bytes(data)
    try:
        frames, _ = read(path)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017 - many of them
    else:
        assert len(frames) <= 5


def test_what_a_killed_recorder_has_left_beside_the_database(tmp_path: Path) -> None:
    """SQLite's write-ahead log holds the last messages until somebody opens the database to write."""
    path = storage_file(write_bag(tmp_path / "bag", regular(2), storage="sqlite3"))
    code = f"""
        import os, sqlite3
        database = sqlite3.connect({str(path)!r})
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("INSERT INTO messages (topic_id, timestamp, data) SELECT topic_id, timestamp + 1, data "
                         "FROM messages WHERE id = (SELECT max(id) - 1 FROM messages)")
        database.commit()
        os._exit(1)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert path.with_name(path.name + "-wal").stat().st_size > 0
    with open_source(f"bag:{path}") as source:
        assert [topic.count for topic in source._files[0].topics() if topic.type == IMAGE] == [3]  # type: ignore[attr-defined]


def test_a_bag_is_left_as_it_is(tmp_path: Path) -> None:
    for storage in STORAGES:
        bag = write_bag(tmp_path / storage, regular(2), storage=storage)
        before = {path.name: path.read_bytes() for path in bag.iterdir()}
        read(bag)
        assert {path.name: path.read_bytes() for path in bag.iterdir()} == before


def test_metadata_is_not_needed(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", regular(2))
    (bag / "metadata.yaml").unlink()
    assert len(read(bag)[0]) == 2


def test_unindexed_and_unchunked_mcap(tmp_path: Path) -> None:
    """As `ros2 bag record` writes it with the profile fastwrite, and killed."""
    from mcap.writer import IndexType

    path = storage_file(write_bag(tmp_path / "bag", regular(4)))
    other = rewritten(path, index_types=IndexType.NONE, use_chunking=False, repeat_channels=False, use_statistics=False)
    frames, notices = read(other)
    assert len(frames) == 4
    assert notices == ()
    other.write_bytes(other.read_bytes()[:-1000])
    frames, notices = read(other)
    assert len(frames) == 3
    assert "cut off" in notices[0]


@pytest.mark.parametrize("compression", ["NONE", "LZ4", "ZSTD"])
def test_every_compression_of_chunks(tmp_path: Path, compression: str) -> None:
    from mcap.writer import CompressionType

    path = storage_file(write_bag(tmp_path / "bag", regular(4)))
    frames, notices = read(rewritten(path, compression=CompressionType[compression]))
    assert (len(frames), notices) == (4, ())


# What is no bag


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("missing.mcap", None, "no such file"),
        ("empty.mcap", b"", "the file is empty"),
        ("text.mcap", b"hello" * 100, "not an MCAP file"),
        ("text.db3", b"hello" * 100, "not a database of rosbag2 that can be read (file is not a database)"),
        ("old.bag", b"#ROSBAG V2.0\n", "a bag of ROS 1; convert it: rosbags-convert --src "),
        ("video.mp4", b"x", "not a bag; give a folder of rosbag2, or a file .mcap or .db3"),
        ("bad.mcap.zstd", b"x" * 100, "is empty"),
    ],
)
def test_what_is_no_bag(tmp_path: Path, name: str, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert told in refused(tmp_path / name)


def test_a_folder_without_a_bag(tmp_path: Path) -> None:
    assert "neither .mcap nor .db3" in refused(tmp_path)
    with pytest.raises(UserError, match="give the bag's folder or file"):
        open_source("bag:")


def test_another_database(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "other.db3")
    database.execute("CREATE TABLE things (id INTEGER)")
    database.commit()
    assert "not a database of rosbag2 that can be read (no such table: topics)" in refused(tmp_path / "other.db3")


@pytest.mark.parametrize("package", ["mcap", "rosbags"])
def test_without_the_extra_the_error_names_it(tmp_path: Path, package: str) -> None:
    bag = write_bag(tmp_path / "bag", regular(1))
    code = f"""
        import sys
        sys.modules[{package!r}] = None
        from henasy_stream.live import main
        sys.exit(main(["--source", "bag:{bag}", "--headless"]))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'henasy-stream[bag]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
