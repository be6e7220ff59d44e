"""Fields of a ROS message as the bytes that DDS carries: plain CDR, little-endian (XCDR version 1 of a final type).

Cyclone DDS's Python package can do this too, but goes through an image byte by byte.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from henasy_stream.ros.interfaces import Field, fields

HEADER = b"\x00\x01\x00\x00"
"""Little-endian plain CDR; alignment counts from behind it."""

_FORMATS = {
    "bool": "?",
    "byte": "B",
    "uint8": "B",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}

_Write = Callable[[bytearray, Any], None]


def encode(name: str, values: Mapping[str, Any]) -> bytes:
    """The message as bytes, with the header in front.

    Args:
        name: of the message, such as `sensor_msgs/msg/Image`.
        values: one for every field: numbers, texts, sequences of these, and mappings for messages.  A sequence of
            bytes may be a bytes-like object.

    Raises:
        KeyError: a field has no value.
        ValueError: a value is out of its type's range, not of its type, or the array has another length.
    """
    out = bytearray(HEADER)
    try:
        _message(name)(out, values)
    except (struct.error, OverflowError, TypeError, AttributeError) as error:
        raise ValueError(f"{name}: a value does not fit its field: {error}") from error
    return bytes(out)


@cache
def _message(name: str) -> _Write:
    writers = [(field.name, _field(field)) for field in fields(name)]

    def write(out: bytearray, values: Mapping[str, Any]) -> None:
        for key, write_one in writers:
            write_one(out, values[key])

    return write


def _field(field: Field) -> _Write:
    if field.size is None:
        return _single(field.type)
    many = _numbers(field.type) if field.type in _FORMATS else _one_by_one(_single(field.type))
    length = field.size

    def write_array(out: bytearray, values: Sequence[Any]) -> None:
        if len(values) != length:
            raise ValueError(f"{field.name} has {len(values)} elements, not {length}")
        many(out, values)

    def write_sequence(out: bytearray, values: Sequence[Any]) -> None:
        _count(out, len(values))
        many(out, values)

    return write_array if length else write_sequence


def _single(kind: str) -> _Write:
    if kind == "string":
        return _text
    if kind not in _FORMATS:
        return _message(kind)
    size = struct.calcsize("<" + _FORMATS[kind])
    packer = struct.Struct("<" + _FORMATS[kind])

    def write(out: bytearray, value: Any) -> None:
        _align(out, size)
        out += packer.pack(value)

    return write


def _numbers(kind: str) -> _Write:
    code = _FORMATS[kind]
    size = struct.calcsize("<" + code)

    def write(out: bytearray, values: Sequence[Any]) -> None:
        if isinstance(values, bytes | bytearray | memoryview) and size == 1:
            out += values
        elif len(values):  # an empty sequence is not padded
            _align(out, size)
            out += struct.pack(f"<{len(values)}{code}", *values)

    return write


def _one_by_one(write_one: _Write) -> _Write:
    def write(out: bytearray, values: Sequence[Any]) -> None:
        for value in values:
            write_one(out, value)

    return write


def _text(out: bytearray, text: str) -> None:
    # A NUL would end the text for every reader in C, and a lone surrogate has no UTF-8.
    data = text.replace("\0", "").encode("utf-8", "replace")
    _count(out, len(data) + 1)
    out += data
    out.append(0)


def _count(out: bytearray, number: int) -> None:
    _align(out, 4)
    out += number.to_bytes(4, "little")


def _align(out: bytearray, size: int) -> None:
    out += bytes((len(HEADER) - len(out)) % size)
