"""Messages to bytes and back: ZeroMQ's multipart and the lines of a record.  Needs msgspec only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from henasy_stream.sinks.messages import TYPES, Message


class MessageError(ValueError):
    """Bytes that are no message of schema version 1."""


class _TopicOnly(msgspec.Struct):
    topic: str


_encoder = msgspec.msgpack.Encoder()
_json_encoder = msgspec.json.Encoder()
_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {k: msgspec.msgpack.Decoder(t) for k, t in TYPES.items()}
_json_decoders: dict[str, msgspec.json.Decoder[Any]] = {k: msgspec.json.Decoder(t) for k, t in TYPES.items()}
_json_topic = msgspec.json.Decoder(_TopicOnly)
_BAD_BYTES = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def to_wire(message: Message) -> list[bytes]:
    """[topic, msgpack body, binary part…], as ZeroMQ sends it."""
    return [message.topic.encode(), _encoder.encode(message), *message.parts]


def from_wire(frames: Sequence[bytes]) -> Message | None:
    """The message in what ZeroMQ received; None when the topic is not one that this version knows.

    Raises:
        MessageError: the body is missing or not what the topic promises.
    """
    topic = bytes(frames[0]).decode("utf-8", "replace") if frames else ""
    decoder = _decoders.get(topic)
    if decoder is None:
        return None
    if len(frames) < 2:
        raise MessageError(f"{topic}: no body")
    try:
        message: Message = decoder.decode(frames[1])
    except _BAD_BYTES as error:
        raise MessageError(f"{topic}: {error}") from error
    message.with_parts(frames[2:])
    return message


def to_json_line(message: Message) -> bytes:
    """One line of a record, with its newline: the body's keys plus `topic`.  Binary parts are not recorded."""
    return b'{"topic":"%s",%s\n' % (message.topic.encode(), _json_encoder.encode(message)[1:])


def from_json_line(line: bytes | str) -> Message | None:
    """The message in one line of a record; None when the topic is not one that this version knows.

    Raises:
        MessageError: the line is no message.
    """
    try:
        topic = _json_topic.decode(line).topic
        decoder = _json_decoders.get(topic)
        return None if decoder is None else decoder.decode(line)
    except _BAD_BYTES as error:
        raise MessageError(str(error)) from error
