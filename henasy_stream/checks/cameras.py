"""Cameras: their names, and what they deliver."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from henasy_stream.checks.finding import Check, Finding, isolated

if TYPE_CHECKING:
    from henasy_stream.sources._v4l2 import Format

_CAMERA_S = 5.0


def cameras() -> list[Finding]:
    """Every camera with what it delivers."""
    found = list(each())
    if found:
        return found
    remedy = "plug one in; in a container, pass --device /dev/video0"
    return [Finding(mark="note", about="camera", text="none connected", remedy=remedy)]


def each() -> Iterator[Finding]:
    """One finding a camera, as soon as it has answered; one that hangs does not hide the others.

    `facts`: `device`, `name`, `by_id` (null where it has no stable name), `formats`, `problem` (empty where it works).
    """
    from henasy_stream.sources._v4l2 import list_cameras

    for listed in list_cameras():
        check = Check(about=f"camera {listed}", function="cameras.camera", argument=listed, limit_s=_CAMERA_S)
        for finding in isolated(check):
            device, name = _parts(listed)
            yield dataclasses.replace(finding, facts=finding.facts or _facts(device, name, problem=finding.text))


def camera(listed: str) -> list[Finding]:
    """One camera, as `list_cameras` names it."""
    from henasy_stream.errors import UserError
    from henasy_stream.sources import _v4l2

    device, name = _parts(listed)
    about, stable = f"camera {device}", _v4l2.stable_name(device)
    try:
        _v4l2.check(device)
    except UserError as error:
        text = str(error).removeprefix(f"{device}: ")
        return [Finding(mark="problem", about=about, text=text, facts=_facts(device, name, stable, problem=text))]
    formats = _v4l2.formats(device)
    text = f"({name}) {'; '.join(readable(formats)) or 'lists no formats'}"
    remedy = f"--camera {stable} always means this camera" if stable else ""
    return [Finding(about=about, text=text, remedy=remedy, facts=_facts(device, name, stable, formats))]


def readable(formats: Sequence[Format]) -> list[str]:
    """As in "MJPG 1280x720 at 30, 60 fps", one a size, the largest first."""
    rates: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    for one in formats:
        rates[one.fourcc, one.width, one.height].append(one.fps)
    largest = sorted(rates, key=lambda key: (key[0], -key[1] * key[2]))
    return [f"{code} {w}x{h} at {', '.join(f'{r:g}' for r in sorted(rates[code, w, h]))} fps" for code, w, h in largest]


def _facts(
    device: str, name: str, by_id: str | None = None, formats: Sequence[Format] = (), problem: str = ""
) -> dict[str, Any]:
    listed = [dataclasses.asdict(one) for one in formats]
    return {"device": device, "name": name, "by_id": by_id, "formats": listed, "problem": problem}


def _parts(listed: str) -> tuple[str, str]:
    device, _, name = listed.partition(" ")
    return device, name.removeprefix("(").removesuffix(")")
