"""The options of `live`: one type for the command line and for the YAML file."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from henasy_stream.errors import UserError

Count = Annotated[int, msgspec.Meta(ge=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]


class LiveOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """What `python -m henasy_stream.live` was asked for; `live --help` says what each option means.

    Every field is a long option of the command line and a key of the YAML file, with dashes for underscores.
    """

    source: str | None = None
    camera: str | int | None = None
    camera_size: str | None = None
    camera_fps: Positive | None = None
    weights: str = "demo"
    backend: Literal["auto", "onnxruntime", "torch", "tensorrt", "torch-tensorrt"] = "auto"
    queries: str | tuple[str, ...] = ()
    phrases: str | None = None
    verbs: str | None = None
    nouns: str | None = None
    rotate: Literal[0, 90, 180, 270] = 0
    resize: Literal["crop", "squash", "letterbox"] | None = None
    span: Positive | None = None
    presence: Probability | None = None
    entities: str | None = None
    entities_remote: bool = False
    control: str | None = None
    control_remote: bool = False
    publish: str | tuple[str, ...] = ()
    publish_remote: bool = False
    publish_masks: bool = False
    publish_frames: bool = False
    wait_subscriber: Annotated[int, msgspec.Meta(ge=0)] = 0
    record: str | None = None
    record_frames: bool = False
    annotate: str | None = None
    headless: bool = False
    view: bool = False
    view_address: str | None = None
    max_fps: Positive | None = None
    max_frames: Count | None = None

    @property
    def uri(self) -> str:
        """The source to open.  Raises UserError unless exactly one was named."""
        if (self.camera is None) == (self.source is None):
            found = "neither --camera nor --source" if self.source is None else "both --camera and --source"
            which = "--camera 0 (--list-cameras says which there are), --source video.mp4 or --source world"
            raise UserError(f"{found}: name one source, e.g. {which}")
        return f"camera:{self.camera}" if self.source is None else self.source

    @property
    def camera_pixels(self) -> tuple[int, int] | None:
        """Width and height to ask a camera for."""
        if self.camera_size is None:
            return None
        match = re.fullmatch(r"\s*(\d+)\s*[x×*]\s*(\d+)\s*", self.camera_size)
        if match is None:
            raise UserError(f"--camera-size {self.camera_size!r}: give width x height in pixels, e.g. 1280x720")
        return int(match[1]), int(match[2])

    @property
    def publish_addresses(self) -> tuple[str, ...]:
        """The addresses to publish to, each once."""
        given = (self.publish,) if isinstance(self.publish, str) else self.publish
        return tuple(dict.fromkeys(given))

    @property
    def query_texts(self) -> tuple[str, ...]:
        """The queries as single texts, each once.  Raises UserError where `--control` would refuse them."""
        from henasy_stream.control import Request, wanted  # brings pyzmq, which --help need not wait for

        texts = self.queries.split(",") if isinstance(self.queries, str) else self.queries
        try:
            return wanted(Request(set_queries=tuple(text for text in texts if text.strip())), ())
        except UserError as error:
            raise UserError(f"--queries: {error}") from None


NAMES: tuple[str, ...] = tuple(name.replace("_", "-") for name in LiveOptions.__struct_fields__)


def choices(name: str) -> tuple[Any, ...]:
    """The values that an option of few values takes; empty for all others."""
    hint = typing.get_type_hints(LiveOptions)[name.replace("-", "_")]
    literals = [t for t in (hint, *typing.get_args(hint)) if typing.get_origin(t) is Literal]
    return typing.get_args(literals[0]) if literals else ()


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean X?` for the known name that is closest, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def merge(command_line: Mapping[str, Any], file: Path | None) -> LiveOptions:
    """The options of the file, overruled by those of the command line.

    Args:
        command_line: what was given there, by name with dashes; what is absent was not given.
        file: a YAML file of the same names.

    Raises:
        UserError: an unknown name, a wrong type or value, or a file that is no such YAML.
    """
    values: dict[str, Any] = {}
    if file is not None:
        values = _read_yaml(file)
        _convert(values, str(file))
        # Source and camera exclude each other, and what is typed wins over what is written.
        if {"source", "camera"} & command_line.keys():
            values.pop("source", None)
            values.pop("camera", None)
    return _convert({**values, **command_line}, "")


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"--config {path}: no such file; check the path") from None
    except OSError as error:
        raise UserError(f"--config {path}: cannot be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError:
        raise UserError(f"--config {path}: not a text file; give a YAML file of options") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise UserError(f"{path}{where}: not YAML ({problem}); mend it") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, not options; write lines such as `source: world`")
    values: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).replace("_", "-")
        if name not in NAMES:
            raise UserError(f"{path}: unknown option {str(key)!r}{suggestion(name, NAMES)} (see live --help)")
        if name in values:
            raise UserError(f"{path}: {name!r} is given twice; keep one")
        if value is not None:
            values[name] = value
    return values


def _convert(values: Mapping[str, Any], where: str) -> LiveOptions:
    try:
        return msgspec.convert(dict(values), LiveOptions)
    except msgspec.ValidationError as error:
        raise _explained(error, values, where) from None


def _explained(error: msgspec.ValidationError, values: Mapping[str, Any], where: str) -> UserError:
    """The message of msgspec, with the option's name and value in place of its path."""
    problem, _, path = str(error).partition(" - at `$.")
    name = re.split(r"[`.\[]", path)[0]
    problem = problem.replace("`", "").replace(" | null", "").replace("Expected", "expected").removeprefix("Object ")
    subject = f"{where}: {name}" if where else f"--{name}"
    if few := choices(name):
        problem = f"choose one of {', '.join(map(str, few))}"
    return UserError(f"{subject}: {values.get(name)!r} does not fit, {problem} (see live --help)")
