"""The bytes on the wire, the lines of a record, and what version 1 promises for ever."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from henasy_stream import types
from henasy_stream.sinks import messages, wire
from henasy_stream.sinks.builder import MessageBuilder
from tests.sinks import synthetic
from tests.sinks.synthetic import ADDED, RUNNING, example, validate

GOLDEN = Path(__file__).parents[1] / "golden/messages"


class TestWire:
    @given(st.lists(synthetic.perceptions, max_size=4))
    def test_everything_comes_back_as_it_went_and_fits_its_schema(self, perceptions: list[types.Perception]) -> None:
        builder = MessageBuilder(synthetic.SPEC, masks=True, frame=True, embeddings=True)
        sent = [m for p in perceptions for m in builder.perception(p)] + builder.heartbeat(RUNNING)
        for message in sent:
            received = wire.from_wire(wire.to_wire(message))
            assert received == message
            assert received is not None
            assert received.parts == message.parts
            assert wire.from_json_line(wire.to_json_line(message)) == message
            validate(message)

    @given(st.lists(st.binary(max_size=200), max_size=3), st.sampled_from(messages.TOPICS))
    def test_any_bytes_are_a_message_or_a_message_error(self, rest: list[bytes], topic: str) -> None:
        with pytest.raises(wire.MessageError):
            wire.from_wire([topic.encode(), *rest])

    @given(st.sampled_from(messages.TOPICS), st.data())
    def test_a_damaged_message_never_raises_anything_else(self, topic: str, data: st.DataObject) -> None:
        body = bytearray(wire.to_wire(example(topic))[1])
        for _ in range(data.draw(st.integers(1, 4))):
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
        body = body[: data.draw(st.integers(0, len(body)))]
        with contextlib.suppress(wire.MessageError):
            wire.from_wire([topic.encode(), bytes(body)])

    def test_nesting_without_end_is_a_message_error(self) -> None:
        with pytest.raises(wire.MessageError):
            wire.from_wire([b"henasy/1/tracks", b"\x81\xa1q" + b"\x91" * 100_000])

    @pytest.mark.parametrize(
        "frames", [[], [b"henasy/2/tracks", b"x"], [b"henasy/1/tracks2", b"x"], [b"\xff\xfe", b""]]
    )
    def test_topics_of_others_are_passed_over(self, frames: list[bytes]) -> None:
        assert wire.from_wire(frames) is None

    def test_lines_of_other_topics_are_passed_over_and_bad_lines_are_not(self) -> None:
        assert wire.from_json_line('{"topic": "henasy/1/weather", "seq": 1}') is None
        for line in ("", "{}", '{"topic": "henasy/1/tracks"}', '{"topic": "henasy/1/tracks"'):
            with pytest.raises(wire.MessageError):
                wire.from_json_line(line)

    def test_unknown_keys_are_ignored_at_every_level(self) -> None:
        tracks = example("henasy/1/tracks")
        body: dict[str, Any] = msgspec.to_builtins(tracks)
        body["weather"] = {"rain": [1, 2]}
        body["tracks"][0]["mood"] = "calm"
        assert wire.from_wire([b"henasy/1/tracks", msgspec.msgpack.encode(body)]) == tracks

    def test_same_words_as_the_stages_use(self) -> None:
        for name in ("Clock", "StampSource", "TrackState"):
            assert get_args(getattr(messages, name)) == get_args(getattr(types, name))


class TestGolden:
    """Bytes that version 1 once sent.  They are never made anew: what cannot read them is not version 1."""

    FILES = tuple(sorted(GOLDEN.glob("*.msgpack")))

    def test_one_of_each_topic_is_there(self) -> None:
        names = {path.stem for path in self.FILES}
        assert names >= {topic.rpartition("/")[2] for topic in messages.TOPICS}

    @pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
    def test_is_read_as_it_was_meant(self, path: Path) -> None:
        frames = msgspec.msgpack.decode(path.read_bytes(), type=list[bytes])
        message = wire.from_wire(frames)
        assert message is not None
        expected = json.loads(path.with_suffix(".json").read_text("utf-8"))
        if "counters" in expected:
            expected["counters"].setdefault("frames_failed", 0)  # which version 1 gained
        added: dict[str, list[object]] = {key: [] for key in ADDED.get(message.topic, ()) if key not in expected}
        assert {"topic": message.topic, **json.loads(msgspec.json.encode(message))} == expected | added
        assert message.parts == tuple(frames[2:])
        validate(message)

    def test_keys_of_later_versions_are_ignored(self) -> None:
        now = json.loads((GOLDEN / "tracks.json").read_text("utf-8"))
        later = json.loads((GOLDEN / "tracks_with_later_keys.json").read_text("utf-8"))
        assert later == now
