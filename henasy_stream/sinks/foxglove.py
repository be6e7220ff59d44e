"""What Foxglove reads: annotations for a picture, pictures as ROS 2 has them, and the schemas of our own messages.

Annotations are JSON of `foxglove.ImageAnnotations`.  Pictures are `sensor_msgs/msg/CompressedImage` in CDR and not
`foxglove.CompressedImage` in JSON, whose base64 costs time and which ROS's own tools cannot read.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from henasy_stream._palette import Colour, colour_of, text_colour
from henasy_stream.annotate import LOST_SHOWN_S
from henasy_stream.sinks import messages

COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
COMPRESSED_IMAGE_DEFINITION = f"""\
std_msgs/Header header
string format
uint8[] data
{80 * "="}
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
{80 * "="}
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""

IMAGE_ANNOTATIONS = "foxglove.ImageAnnotations"
_LINE_LOOP, _LINE_LIST = 2, 4
_WHITE, _DARK = (255, 255, 255), (20, 20, 20)
_LOST = 0.4


def compressed_image(stamp_ns: int, frame_id: str, format: str, data: bytes) -> bytes:
    """A `sensor_msgs/msg/CompressedImage` in CDR, little-endian.

    Args:
        stamp_ns: nanoseconds since 1970, below 2^31 seconds.
        frame_id: name of the camera's coordinate frame.
        format: `jpeg` or `png`.
        data: the file's bytes.
    """
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    body = struct.pack("<iI", sec, nanosec)
    for text in (frame_id, format):
        # Cut at a NUL, which ends a string in ROS.
        raw = text.encode("utf-8", "replace").split(b"\0")[0] + b"\0"
        body += struct.pack("<I", len(raw)) + raw
        body += bytes(-len(body) % 4)
    return b"\0\1\0\0" + body + struct.pack("<I", len(data)) + data


def image_annotations(
    tracks: messages.Tracks | None, caption: messages.Caption | None, stamp_ns: int, height: int
) -> dict[str, Any]:
    """Boxes with label, id and probability, lines for relations, and the caption at the lower left.

    What is lost is shown fainter, and for as long as in the annotated video.

    Args:
        tracks: of one hop; None from a model without entities.
        caption: of the action going on, if there is one.
        stamp_ns: the picture's, nanoseconds since 1970.
        height: of the picture, pixels; 0 when it is not known, and the caption then stands at the top.
    """
    stamp = _time(stamp_ns)
    font = max(12, round(height * 0.03))
    points, texts = ([], []) if tracks is None else _of_tracks(tracks, stamp, font)
    if caption is not None:
        at = (font / 2, height - font / 2 if height else 1.5 * font)
        texts.append(_text(stamp, at, f"{caption.text} {caption.score:.0%}", 1.3 * font, _DARK, 0.7))
    return {"circles": [], "points": points, "texts": texts}


def _of_tracks(message: messages.Tracks, stamp: dict[str, int], font: int) -> tuple[list[Any], list[Any]]:
    """Points and texts of what is seen, and of what is lost for not too long."""
    points, texts = [], []
    centres: dict[int, tuple[float, float]] = {}
    for track in message.tracks:
        lost = track.state == "lost"
        if track.state == "removed" or (lost and message.stamp_ns - track.last_seen_ns > LOST_SHOWN_S * 1e9):
            continue
        x0, y0, x1, y1 = track.box_xyxy
        centres[track.id] = ((x0 + x1) / 2, (y0 + y1) / 2)
        colour, strength = colour_of(track.id), _LOST if lost else 1.0
        corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        points.append(_points(stamp, _LINE_LOOP, corners, colour, strength, thickness=max(1, font / 6)))
        told = f"{track.query or track.label} {track.id} {'lost' if lost else f'{track.label_score:.0%}'}"
        texts.append(_text(stamp, (x0, max(y0, font)), told, font, colour, strength))
    for relation in message.relations:
        ends = [centres[i] for i in (relation.subject_id, relation.object_id) if i in centres]
        if len(ends) == 2:
            points.append(_points(stamp, _LINE_LIST, ends, _WHITE, 1.0, thickness=max(1, font / 10)))
            middle = ((ends[0][0] + ends[1][0]) / 2, (ends[0][1] + ends[1][1]) / 2)
            texts.append(_text(stamp, middle, relation.predicate, font, _DARK, 0.7))
    return points, texts


def image_annotations_schema() -> dict[str, Any]:
    """JSON Schema of `foxglove.ImageAnnotations`."""
    number = {"type": "number"}
    stamp = _object("time", sec={"type": "integer"}, nsec={"type": "integer"})
    colour = _object("foxglove.Color", r=number, g=number, b=number, a=number)
    point = _object("foxglove.Point2", x=number, y=number)
    pair = _object("foxglove.KeyValuePair", key={"type": "string"}, value={"type": "string"})
    both: dict[str, Any] = {"timestamp": stamp, "metadata": _array(pair)}
    kinds = {"UNKNOWN": 0, "POINTS": 1, "LINE_LOOP": 2, "LINE_STRIP": 3, "LINE_LIST": 4}
    circle = _object(
        "foxglove.CircleAnnotation",
        **both,
        position=point,
        diameter=number,
        thickness=number,
        fill_color=colour,
        outline_color=colour,
    )
    points = _object(
        "foxglove.PointsAnnotation",
        **both,
        type={"oneOf": [{"title": name, "const": value} for name, value in kinds.items()]},
        points=_array(point),
        outline_color=colour,
        outline_colors=_array(colour),
        fill_color=colour,
        thickness=number,
    )
    text = _object(
        "foxglove.TextAnnotation",
        **both,
        position=point,
        text={"type": "string"},
        font_size=number,
        text_color=colour,
        background_color=colour,
    )
    return _object(IMAGE_ANNOTATIONS, circles=_array(circle), points=_array(points), texts=_array(text))


def plain_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of `schema.schemas()` in the words that Foxglove's reader knows.

    It refuses a schema with references, alternatives, null or lists of lists in it.  So references are written out,
    and keys that may be null or hold such lists are left out, which leaves the messages valid: Foxglove shows them all
    the same.
    """
    plain = _plain(schema, schema.get("$defs", {}))
    assert plain is not None, "a message is an object"
    return {"title": schema["title"], **plain}


def _plain(schema: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema in plain words; None where they cannot say it."""
    if "$ref" in schema:
        schema = {**named[schema["$ref"].rpartition("/")[2]], **{k: v for k, v in schema.items() if k != "$ref"}}
    kind = schema.get("type")
    if kind is None and ("const" in schema or "enum" in schema):
        values = [schema["const"]] if "const" in schema else schema["enum"]
        kind = {str: "string", int: "integer"}.get(type(values[0]))
    if kind == "object":
        found = {key: _plain(value, named) for key, value in schema.get("properties", {}).items()}
        properties = {key: value for key, value in found.items() if value is not None}
        required = [key for key in schema.get("required", ()) if key in properties]
        return {"type": "object", "properties": properties, "required": required} | _described(schema)
    if kind == "array":
        item = _plain((schema.get("prefixItems") or [schema.get("items") or {}])[0], named)
        listed = item is None or item["type"] == "array"
        return None if listed else {"type": "array", "items": item} | _described(schema)
    if kind not in ("string", "number", "integer", "boolean"):
        return None
    return (
        {"type": kind}
        | {k: schema[k] for k in ("const", "enum", "minimum", "maximum") if k in schema}
        | _described(schema)
    )


def _described(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": schema["description"]} if "description" in schema else {}


def _object(title: str, **properties: Any) -> dict[str, Any]:
    return {"title": title, "type": "object", "properties": properties, "required": list(properties)}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _time(stamp_ns: int) -> dict[str, int]:
    sec, nsec = divmod(stamp_ns, 1_000_000_000)
    return {"sec": sec, "nsec": nsec}


def _colour(colour: Colour, alpha: float) -> dict[str, float]:
    r, g, b = (round(value / 255, 4) for value in colour)
    return {"r": r, "g": g, "b": b, "a": alpha}


def _points(
    stamp: dict[str, int],
    kind: int,
    corners: list[tuple[float, float]],
    colour: Colour,
    strength: float,
    *,
    thickness: float,
) -> dict[str, Any]:
    return {
        "timestamp": stamp,
        "type": kind,
        "points": [{"x": x, "y": y} for x, y in corners],
        "outline_color": _colour(colour, strength),
        "outline_colors": [],
        "fill_color": _colour(colour, 0.0),
        "thickness": thickness,
        "metadata": [],
    }


def _text(
    stamp: dict[str, int], at: tuple[float, float], text: str, size: float, background: Colour, strength: float
) -> dict[str, Any]:
    return {
        "timestamp": stamp,
        "position": {"x": at[0], "y": at[1]},
        "text": text,
        "font_size": size,
        "text_color": _colour(text_colour(background), 1.0),
        "background_color": _colour(background, strength),
        "metadata": [],
    }
