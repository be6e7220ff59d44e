"""The node's parameters, once: what is declared, checked, documented and handed to the node comes from `PARAMETERS`.

Free of ROS.  `python -m henasy_stream_ros.parameters` prints the table of docs/ros2.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from henasy_stream.control import Request, wanted
from henasy_stream.errors import UserError

Kind = Literal["string", "double", "integer", "bool", "string_array"]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter.

    low, high: bounds of a number, both allowed.  choices: the only values of a text or an integer.  dynamic: may be
    changed while the node is active; all others only while it is unconfigured.
    """

    name: str
    kind: Kind
    default: Any
    text: str
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    dynamic: bool = False


PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        name="source",
        kind="string",
        default="",
        text="What to watch in place of an image topic: 'camera:0', 'rtsp://…', a video file, 'world', as for "
        "`live --source`. Empty: the image topic.",
    ),
    Parameter(
        name="image_topic",
        kind="string",
        default="image",
        text="Topic of the images. With transport 'compressed', '/compressed' is appended where it is missing.",
    ),
    Parameter(
        name="transport",
        kind="string",
        default="raw",
        choices=("raw", "compressed"),
        text="raw: sensor_msgs/Image. compressed: sensor_msgs/CompressedImage (JPEG or PNG).",
    ),
    Parameter(
        name="reliability",
        kind="string",
        default="best_effort",
        choices=("best_effort", "reliable"),
        text="QoS of the image subscription. best_effort hears every publisher; reliable only those that are reliable.",
    ),
    Parameter(
        name="frame_id",
        kind="string",
        default="camera",
        text="frame_id of what is published about a `source`. Images of a topic keep their own.",
    ),
    Parameter(
        name="detections_topic",
        kind="string",
        default="",
        text="Topic of your own detector (vision_msgs/Detection2DArray): its boxes are tracked in place of the model's "
        "own entities. Empty: the model's own.",
    ),
    Parameter(
        name="rectify",
        kind="bool",
        default=False,
        text="Undistort images by the CameraInfo beside them before the model sees them; results come back in the "
        "pixels that were sent. The weights are trained on raw video.",
    ),
    Parameter(
        name="weights",
        kind="string",
        default="demo",
        text="'demo', 'demo-causal', 'lavila', a .safetensors or .pth file, or the folder of a bundle.",
    ),
    Parameter(
        name="backend",
        kind="string",
        default="auto",
        text="What executes the network; 'auto' is the first that works. `python -m henasy_stream.doctor` lists them.",
    ),
    Parameter(
        name="queries",
        kind="string_array",
        default=(),
        text="Free texts to find and track, at most 32 of 200 letters; also by the service ~/set_queries.",
        dynamic=True,
    ),
    Parameter(
        name="phrases_file",
        kind="string",
        default="",
        text="Captions to choose from, a text file with one a line. Empty: the weights' own.",
    ),
    Parameter(
        name="verbs_file",
        kind="string",
        default="",
        text="With nouns_file: captions are all pairs. A text file, EPIC's or Ego4D's csv, or 'everyday'. Empty: none.",
    ),
    Parameter(name="nouns_file", kind="string", default="", text="See verbs_file."),
    Parameter(
        name="rotate",
        kind="integer",
        default=0,
        choices=(0, 90, 180, 270),
        text="Degrees clockwise that set the picture upright for the model; results stay in the pixels that were sent.",
    ),
    Parameter(
        name="resize",
        kind="string",
        default="",
        choices=("", "crop", "squash", "letterbox"),
        text="How a picture becomes the model's square. Empty: as the weights were trained.",
    ),
    Parameter(
        name="span_s",
        kind="double",
        default=0.0,
        low=0.0,
        high=60.0,
        text="Seconds from the first to the last picture of a window. 0: as the weights were trained.",
    ),
    Parameter(
        name="presence",
        kind="double",
        default=0.5,
        low=0.0,
        high=1.0,
        text="Least probability that an entity is there for it to be published.",
    ),
    Parameter(
        name="lost_s",
        kind="double",
        default=10.0,
        low=0.0,
        high=600.0,
        text="Seconds that a track which is no longer seen is kept.",
    ),
    Parameter(
        name="gap_s",
        kind="double",
        default=2.0,
        low=0.1,
        high=600.0,
        text="A longer pause between stamps, seconds, starts the stream afresh.",
    ),
    Parameter(
        name="embeddings",
        kind="bool",
        default=False,
        text="Put each track's embedding into ~/tracks.",
    ),
    Parameter(
        name="max_rate",
        kind="double",
        default=0.0,
        low=0.0,
        high=1000.0,
        text="At most so many images a second are taken, the newest each time; a file is played slower. 0: as many as "
        "come.",
        dynamic=True,
    ),
    Parameter(
        name="debug_image_rate",
        kind="double",
        default=5.0,
        low=0.1,
        high=60.0,
        text="At most so many pictures a second on ~/debug_image/compressed; none is drawn while nobody listens.",
        dynamic=True,
    ),
    Parameter(
        name="debug_image_quality",
        kind="integer",
        default=80,
        low=1,
        high=100,
        text="JPEG quality of ~/debug_image/compressed.",
        dynamic=True,
    ),
    Parameter(
        name="silence_s",
        kind="double",
        default=5.0,
        low=0.5,
        high=600.0,
        text="Seconds without an image after which the diagnostics and the log say which publishers there are.",
        dynamic=True,
    ),
    Parameter(
        name="autostart",
        kind="bool",
        default=False,
        text="Configure and activate at start. false: whoever manages the node does, e.g. `ros2 lifecycle set`.",
    ),
)

BY_NAME: dict[str, Parameter] = {parameter.name: parameter for parameter in PARAMETERS}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The values of all parameters, checked."""

    source: str
    image_topic: str
    transport: str
    reliability: str
    frame_id: str
    detections_topic: str
    rectify: bool
    weights: str
    backend: str
    queries: tuple[str, ...]
    phrases_file: str
    verbs_file: str
    nouns_file: str
    rotate: Literal[0, 90, 180, 270]
    resize: Literal["", "crop", "squash", "letterbox"]
    span_s: float
    presence: float
    lost_s: float
    gap_s: float
    embeddings: bool
    max_rate: float
    debug_image_rate: float
    debug_image_quality: int
    silence_s: float
    autostart: bool


def checked(parameter: Parameter, value: Any) -> Any:
    """The value as the node uses it: an integer is taken for a double, one text for a list of one.

    Raises:
        UserError: it is of another type or out of range; one line says what fits.
    """
    fits, converted = _CONVERSIONS[parameter.kind](value)
    if not fits:
        kind = {"string": "a text", "double": "a number", "integer": "an integer", "bool": "true or false"}
        raise UserError(f"{parameter.name}: {_shown(value)} does not fit, give {kind.get(parameter.kind, 'texts')}")
    if parameter.choices and converted not in parameter.choices:
        names = ", ".join(repr(choice) for choice in parameter.choices)
        raise UserError(f"{parameter.name}: {_shown(value)} does not fit, choose one of {names}")
    if parameter.low is not None and parameter.high is not None and not parameter.low <= converted <= parameter.high:
        raise UserError(f"{parameter.name}: {_shown(value)} does not fit, give {parameter.low:g} to {parameter.high:g}")
    if parameter.name == "queries":
        return _queries(converted)
    return converted


def settings(values: Mapping[str, Any]) -> Settings:
    """The settings of the values by name; what is absent has its default.

    Raises:
        UserError: a value does not fit.
    """
    given = {parameter.name: parameter.default for parameter in PARAMETERS} | dict(values)
    return Settings(**{name: checked(BY_NAME[name], value) for name, value in given.items()})


def check_together(found: Settings) -> None:
    """Raises UserError when two settings contradict each other; looked at when the node is configured."""
    if bool(found.verbs_file) != bool(found.nouns_file):
        raise UserError("verbs_file and nouns_file: captions are made of verbs and nouns; give both, or 'everyday'")
    if found.phrases_file and found.verbs_file:
        raise UserError("phrases_file and verbs_file: captions are chosen from one bank; leave one of them out")
    if found.source and found.rectify:
        raise UserError("rectify: needs the CameraInfo of an image topic; leave `source` empty")
    if not found.source and not found.image_topic:
        raise UserError("image_topic: names no topic; give one, or a `source`")


def change(current: Settings, name: str, value: Any, *, configured: bool) -> Settings:
    """The settings after one parameter is set.

    Args:
        current: the settings before.
        name: of the parameter.
        value: as it came.
        configured: whether the node is, so that only dynamic parameters may change.

    Raises:
        UserError: the value does not fit, or the parameter may not change now.
    """
    parameter = BY_NAME[name]
    new = checked(parameter, value)
    if configured and not parameter.dynamic and new != getattr(current, name):
        raise UserError(f"{name}: is read when the node is configured; `ros2 lifecycle set … cleanup` first")
    return replace(current, **{name: new})


def _queries(texts: Sequence[str]) -> tuple[str, ...]:
    try:
        return wanted(Request(set_queries=tuple(text for text in texts if text.strip())), ())
    except UserError as error:
        raise UserError(f"queries: {error}") from None


def _text(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value


def _double(value: Any) -> tuple[bool, Any]:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return fits, float(value) if fits else value


def _integer(value: Any) -> tuple[bool, Any]:
    return isinstance(value, int) and not isinstance(value, bool), value


def _bool(value: Any) -> tuple[bool, Any]:
    return isinstance(value, bool), value


def _texts(value: Any) -> tuple[bool, Any]:
    if isinstance(value, str):
        return True, (value,) if value else ()
    fits = not isinstance(value, (bytes, Mapping)) and isinstance(value, Sequence)
    fits = fits and all(isinstance(text, str) for text in value)
    return fits, tuple(value) if fits else value


_CONVERSIONS = {"string": _text, "double": _double, "integer": _integer, "bool": _bool, "string_array": _texts}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def table() -> str:
    """The table of docs/ros2.md, in Markdown."""
    lines = ["| parameter | type | default | range | while active | meaning |", "| --- | --- | --- | --- | --- | --- |"]
    for p in PARAMETERS:
        default = "[]" if p.default == () else f"`{p.default!r}`".replace("True", "true").replace("False", "false")
        if p.choices:
            span = ", ".join(f"`{choice!r}`" for choice in p.choices)
        else:
            span = "" if p.low is None else f"{p.low:g} to {p.high:g}"
        lines.append(
            f"| `{p.name}` | {p.kind} | {default} | {span} | {'yes' if p.dynamic else ''} | {p.text} |".replace(
                "  ", " "
            )
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
