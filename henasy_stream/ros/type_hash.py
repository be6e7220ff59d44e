"""ROS 2's type hashes: REP 2011 and REP 2016, the first version, `RIHS01_` and 64 hex digits.

The hash is the SHA-256 of a canonical JSON description of the type and of every type inside it.  Since Iron a publisher
tells it in its discovery data; without it every ROS process that meets the publisher warns.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any

from henasy_stream.ros.interfaces import Field, fields, parts

# type_description_interfaces/msg/FieldType
_MESSAGE = 1
_PRIMITIVE = {
    "uint8": 3,
    "uint16": 5,
    "int32": 6,
    "uint32": 7,
    "int64": 8,
    "uint64": 9,
    "float32": 10,
    "float64": 11,
    "bool": 15,
    "byte": 16,
    "string": 17,
}
_ARRAY, _SEQUENCE = 48, 144


@cache
def type_hash(name: str) -> str:
    """The hash of a message that we know, such as `sensor_msgs/msg/Image`."""
    description = {
        "type_description": _described(name),
        "referenced_type_descriptions": [_described(part) for part in parts(name)],
    }
    # The separators are those of libyaml's JSON, which rosidl's canonical form follows.
    canonical = json.dumps(description, ensure_ascii=True, separators=(", ", ": "), sort_keys=False)
    return "RIHS01_" + hashlib.sha256(canonical.encode()).hexdigest()


def _described(name: str) -> dict[str, Any]:
    return {"type_name": name, "fields": [{"name": f.name, "type": _type(f)} for f in fields(name)]}


def _type(field: Field) -> dict[str, Any]:
    kind = _MESSAGE if field.is_message else _PRIMITIVE[field.type]
    if field.size is not None:
        kind += _ARRAY if field.size else _SEQUENCE
    return {
        "type_id": kind,
        "capacity": field.size or 0,
        "string_capacity": 0,
        "nested_type_name": field.type if field.is_message else "",
    }
