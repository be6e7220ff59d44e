"""Nested fields into a ROS message.  Needs no rclpy, only the message classes that it is given."""

from __future__ import annotations

import array
import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from henasy_stream.ros.fields import Fields

_BYTES = ("sequence<uint8>", "sequence<octet>")


@cache
def message_class(name: str) -> Any:
    """The class of `package/msg/Name` or `package/Name`."""
    package, _, last = name.partition("/")
    return getattr(import_module(f"{package}.msg"), last.rpartition("/")[2])


def fill(message: Any, content: Fields) -> Any:
    """Sets the fields of a message; returns it.

    Raises:
        KeyError: a field that the message does not have.
    """
    types: Mapping[str, str] = message.get_fields_and_field_types()
    for name, value in content.items():
        setattr(message, name, _value(types[name], value))
    return message


def element(type_name: str) -> str:
    """The message inside `sequence<package/Name>` or `package/Name[3]`, the type itself for a single one."""
    match = re.fullmatch(r"(?:sequence<)?([^<>\[\],]+?)(?:, \d+>|>|\[\d+\])?", type_name)
    return match[1] if match else type_name


def _value(type_name: str, value: Any) -> Any:
    if isinstance(value, bytes) and type_name in _BYTES:
        # Any other type would be checked byte by byte.
        return array.array("B", value)
    if type_name == "octet":
        return bytes([value])
    if "/" not in type_name:
        return value
    kind = message_class(element(type_name))
    if isinstance(value, Mapping):
        return fill(kind(), dict(value))
    return [fill(kind(), item) for item in value]
