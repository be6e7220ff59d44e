"""`live --list-cameras`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from henasy_stream.checks import cameras
from henasy_stream.sources._v4l2 import Format


def list_cameras(*, as_json: bool) -> int:
    """Prints every camera with its stable name and formats; the exit code is 0 even where there is none."""
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr] # a camera's name may be anything
    if as_json:
        print(json.dumps([finding.facts for finding in cameras.each()], indent=1))
        return 0
    found = False
    for finding in cameras.each():
        found = True
        print("\n".join(_lines(finding.facts)), flush=True)
    if not found:
        print("no camera is connected; plug one in, or in a container pass --device /dev/video0")
    return 0


def _lines(camera: Mapping[str, Any]) -> list[str]:
    lines = [f"{camera['device']}  {camera['name']}"]
    if camera["problem"]:
        return [*lines, f"  does not work: {camera['problem']}"]
    lines.append(f"  live --camera {camera['by_id'] or camera['device']}")
    if camera["by_id"] is None:
        lines.append("  (no name under /dev/v4l/by-id: the number may change when cameras are plugged in anew)")
    formats = cameras.readable([Format(**one) for one in camera["formats"]])
    return [*lines, *(f"  {one}" for one in formats or ["lists no formats"])]
