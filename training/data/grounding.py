"""Where things lie in a video: labels of one's own or of a data set, in one JSON file.

    {"version": 1, "labels": [
      {"video": "kitchen_1", "time": 12.4, "noun": "cup", "box": [210, 88, 263, 140], "size": [640, 360]},
      {"video": "kitchen_1", "time": 12.4, "start": 11.0, "end": 14.0, "noun": "knife", "mask": "masks/7.png"}
    ]}

`time` is the labelled picture's second of the whole video.  `start` and `end` are the clip around it that the network
is to see; without them it is as long as the weights want it.  `box` is x0, y0, x1, y1 in pixels of a picture of `size`
(width, height).  `mask` is a PNG, relative to the file: everything but 0 is the thing, and its borders are those of the
picture, whatever its own size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from henasy_stream.errors import UserError
from training.data.tables import checksum, read_json


@dataclass(frozen=True, kw_only=True)
class Label:
    """One thing in one picture.

    start, end: NaN where the file leaves the clip open.  box: in 0..1 of the picture, or None, and then `mask` is the
    PNG.
    """

    video: str
    time: float
    start: float
    end: float
    noun: str
    box: tuple[float, float, float, float] | None
    mask: Path | None


def read_labels(path: Path) -> tuple[Label, ...]:
    """The labels in the order of the file.

    Raises:
        UserError: another file, or a label that makes no sense; names its place and the field.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("version") != 1 or not isinstance(content.get("labels"), list):
        raise UserError(f'{path}: expected {{"version": 1, "labels": [...]}}')
    labels = tuple(
        _label(f"{path}, label {place}", entry, path.parent) for place, entry in enumerate(content["labels"])
    )
    if not labels:
        raise UserError(f"{path}: no labels")
    return labels


def label_checksums(path: Path, labels: tuple[Label, ...]) -> dict[str, str]:
    """SHA-256 of the file and of the masks that it names."""
    masks = dict.fromkeys(label.mask for label in labels if label.mask)
    return {path.name: checksum(path)} | {str(mask.relative_to(path.parent)): checksum(mask) for mask in masks if mask}


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """(h, w) of a PNG; UserError where it is missing or damaged."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if image is None:
        raise UserError(f"{path}: no PNG that can be read")
    return np.asarray(image if image.ndim == 2 else image[..., :3].any(-1)) != 0


def _label(where: str, entry: Any, folder: Path) -> Label:
    if not isinstance(entry, Mapping):
        raise UserError(f"{where}: expected an object")
    video, noun = (_text(where, entry, name) for name in ("video", "noun"))
    time = _second(where, entry, "time")
    clip = ("start" in entry, "end" in entry)
    if clip == (False, False):
        start = end = math.nan
    else:
        start, end = (_second(where, entry, name) for name in ("start", "end"))
        if not start <= time <= end:
            raise UserError(f"{where}, field time: {time:g} lies outside the clip, {start:g}-{end:g}")
    if ("box" in entry) == ("mask" in entry):
        raise UserError(f"{where}: give either box with size, or mask")
    return Label(
        video=video,
        time=time,
        start=start,
        end=end,
        noun=noun,
        box=_box(where, entry) if "box" in entry else None,
        mask=folder / _text(where, entry, "mask") if "mask" in entry else None,
    )


def _box(where: str, entry: Mapping[str, Any]) -> tuple[float, float, float, float]:
    box, size = _numbers(where, entry, "box", 4), _numbers(where, entry, "size", 2)
    if not (size[0] > 0 and size[1] > 0):
        raise UserError(f"{where}, field size: {entry['size']!r} is no width and height")
    x0, y0, x1, y1 = (min(max(value / size[i % 2], 0.0), 1.0) for i, value in enumerate(box))
    if not (x0 < x1 and y0 < y1):
        raise UserError(f"{where}, field box: {entry['box']!r} covers nothing of {size[0]:g} x {size[1]:g}")
    return x0, y0, x1, y1


def _numbers(where: str, entry: Mapping[str, Any], name: str, count: int) -> list[float]:
    values = entry.get(name)
    if not isinstance(values, list) or len(values) != count or not all(_is_number(value) for value in values):
        raise UserError(f"{where}, field {name}: {values!r}, expected {count} numbers")
    return [float(value) for value in values]


def _second(where: str, entry: Mapping[str, Any], name: str) -> float:
    value: Any = entry.get(name)
    if not _is_number(value) or value < 0:
        raise UserError(f"{where}, field {name}: {value!r}, expected seconds from 0")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _text(where: str, entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}, field {name}: {value!r}, expected text")
    return value
