"""Boxes from a file of lines and from a ZeroMQ publisher."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq

from henasy_stream.errors import UserError
from henasy_stream.sinks.incoming import MAX_BYTES
from henasy_stream.sources.entities import EntityFeed, open_entities
from henasy_stream.types import EntityBox, EntityBoxes, Frame

SECOND = 1_000_000_000
CUP = {"label": "cup", "box_xyxy": [1, 2, 3.5, 4]}
TOPIC = b"henasy/1/entities"


def frame(time_s: float) -> Frame:
    return Frame(image=np.zeros((1, 1, 3), np.uint8), stamp_ns=round(time_s * SECOND), index=0, source="test")


def at(time_s: float, *entities: dict[str, Any]) -> dict[str, Any]:
    return {"stamp_ns": round(time_s * SECOND), "entities": list(entities)}


def written(path: Path, *lines: object) -> str:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return f"jsonl:{path}"


class TestFile:
    def test_lines_come_in_the_order_of_their_stamps_each_once(self, tmp_path: Path) -> None:
        address = written(tmp_path / "b.jsonl", *(at(t / 10) for t in (3, 1, 2, 9, 0, 30)), "")
        feed = open_entities(address)
        taken = [[e.stamp_ns * 10 // SECOND for e in feed.take(frame(t))] for t in (0, 0.1, 0.5, 2.8)]
        assert taken == [[0, 1, 2, 3], [], [9], [30]]
        feed.close()

    def test_a_line_says_what_it_says(self, tmp_path: Path) -> None:
        told = {**at(0, {**CUP, "score": 0.5, "id": 7}, CUP), "topic": TOPIC.decode(), "weather": "fine"}
        (boxes,) = open_entities(written(tmp_path / "b.jsonl", told)).take(frame(0))
        cup = EntityBox(label="cup", box_xyxy=(1.0, 2.0, 3.5, 4.0))
        assert boxes == EntityBoxes(stamp_ns=0, boxes=(EntityBox(label="cup", box_xyxy=cup.box_xyxy, score=0.5), cup))

    def test_after_stamps_went_back_it_is_read_again(self, tmp_path: Path) -> None:
        feed = open_entities(written(tmp_path / "b.jsonl", *(at(t) for t in range(5))))
        assert [len(feed.take(frame(t))) for t in (2, 3, 0, 1)] == [1, 1, 1, 1]

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            ("{", "truncated"),
            ({"stamp_ns": 1}, "missing required field `entities`"),
            ({"stamp_ns": 1.5, "entities": []}, "Expected `int`, got `float`"),
            ({"stamp_ns": 2**63, "entities": []}, "Expected `int` <= "),
            (at(0, {**CUP, "score": 3}), "Expected `float` <= 1.0"),
            (at(0, {**CUP, "box_xyxy": [10, 10, 5, 5]}), "not x0, y0, x1, y1 with x0 <= x1"),
            (at(0, {"label": "cup", "box_xyxy": [1, 2, 3]}), "length 4"),
            (at(0, *[CUP] * 65), "length <= 64"),
            (at(0, {**CUP, "label": "x" * MAX_BYTES}), f"longer than {MAX_BYTES} bytes"),
        ],
    )
    def test_a_wrong_line_is_named(self, tmp_path: Path, line: object, problem: str) -> None:
        with pytest.raises(UserError) as caught:
            open_entities(written(tmp_path / "b.jsonl", at(0), line))
        assert "b.jsonl, line 2: " in str(caught.value)
        assert problem in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("address", "problem"),
        [
            ("jsonl:nowhere.jsonl", "nowhere.jsonl: No such file"),
            ("json:b.jsonl", "did you mean jsonl:?"),
            ("boxes.jsonl", "give jsonl:FILE, bag:PATH or zmq://"),
            ("jsonl:", "give jsonl:FILE"),
            ("zmq://192.0.2.1:5561", "add --entities-remote"),
            ("zmq://example.org:5561", "add --entities-remote"),
            ("zmq://127.0.0.1", "write one like tcp://127.0.0.1"),
        ],
    )
    def test_a_wrong_address_is_named(self, address: str, problem: str) -> None:
        with pytest.raises(UserError, match=problem.replace("?", r"\?")):
            open_entities(address)

    def test_an_empty_file_is_a_mistake(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="holds no line"):
            open_entities(written(tmp_path / "b.jsonl"))

    def test_another_machine_on_request(self) -> None:
        open_entities("zmq://192.0.2.1:5561", allow_remote=True).close()


@pytest.fixture
def publisher() -> Iterator[tuple[zmq.Socket[bytes], str]]:
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        yield socket, f"zmq://127.0.0.1:{port}"


def wait_for(feed: EntityFeed, count: int) -> list[EntityBoxes]:
    found: list[EntityBoxes] = []
    deadline = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < deadline
        found += feed.take(frame(0))
        time.sleep(0.01)
    return found


class TestLive:
    def test_boxes_arrive_and_what_is_none_is_counted_and_told_once(
        self, publisher: tuple[zmq.Socket[bytes], str]
    ) -> None:
        socket, address = publisher
        feed = open_entities(address)
        assert feed.take(frame(0)) == []  # never waits
        assert socket.poll(20_000)
        assert socket.recv() == b"\x01" + TOPIC
        good = msgspec.msgpack.encode(at(1, CUP))
        nan = msgspec.msgpack.encode(at(1, {**CUP, "box_xyxy": [float("nan"), 0, 1, 1]}))
        for parts in ([TOPIC, b"\xc1"], [TOPIC], [TOPIC, nan], [TOPIC + b"2", b"other"], [TOPIC, good, b"part"]):
            socket.send_multipart(parts)
        assert wait_for(feed, 1)[0].boxes[0].label == "cup"
        assert feed.malformed == 3
        (notice,) = feed.notices
        assert "such messages are passed over and counted" in notice
        assert not feed.notices
        feed.close()

    def test_a_message_too_long_costs_the_connection_and_no_more(
        self, publisher: tuple[zmq.Socket[bytes], str]
    ) -> None:
        socket, address = publisher
        feed = open_entities(address)
        assert socket.poll(20_000)
        socket.send_multipart([TOPIC, b"x" * (MAX_BYTES + 1)])
        deadline = time.monotonic() + 20
        while not (found := feed.take(frame(0))):
            assert time.monotonic() < deadline
            socket.send_multipart([TOPIC, msgspec.msgpack.encode(at(1, CUP))])
            time.sleep(0.02)
        assert found[0].stamp_ns == SECOND
        assert feed.malformed == 1
        feed.close()
