"""The synthetic egocentric world: clips and endless streams with their truth, without any download."""

from __future__ import annotations

import difflib
import time
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl

import numpy as np

from henasy_stream.errors import UserError
from henasy_stream.sources._world.clips import WorldClip, WorldObject, paint_clip, plan_clip
from henasy_stream.sources._world.cuts import cut_clips
from henasy_stream.sources._world.render import Boxes
from henasy_stream.sources._world.scene import SPLITS
from henasy_stream.sources._world.stream import World, WorldAction, WorldTruth
from henasy_stream.sources._world.vocabulary import HAND, HELD_OUT_PAIRS, NOUNS, VERBS, narrate, phrase, phrases
from henasy_stream.sources.base import EndOfSource, SourceBase
from henasy_stream.types import Frame, UInt8Array

__all__ = [
    "HAND",
    "HELD_OUT_PAIRS",
    "NOUNS",
    "VERBS",
    "World",
    "WorldAction",
    "WorldClip",
    "WorldObject",
    "WorldSource",
    "WorldTruth",
    "WorldView",
    "cut_clips",
    "narrate",
    "phrase",
    "phrases",
    "render_clip",
    "world_from_uri",
]


def render_clip(
    seed: int,
    *,
    split: str = "train",
    size: tuple[int, int] = (96, 96),
    num_frames: int = 4,
    span_s: float = 1.5,
    verb: int | None = None,
    noun: int | None = None,
    start_offset_s: float = 0.0,
    lead: int = 0,
) -> WorldClip:
    """Renders one clip with its truth; a function of its arguments alone.

    Args:
        seed: any non-negative number; a seed shows different things in different splits.
        split: "train", "heldout" (instances, tables and wearers that "train" never shows, the same verb-noun pairs),
            "pairs" (the same with the pairs of `HELD_OUT_PAIRS`) or "validation" (yet other instances, for decisions
            that must not look at the held-out ones).
        size: height and width in pixels; the scene does not depend on it.
        num_frames: frames, evenly spread over `span_s` seconds.
        span_s: seconds from the first to the last frame, which fall at a random phase of the action.
        verb: index into `VERBS`; None draws one.
        noun: index into `NOUNS`; None draws one.  Verb and noun together may be any pair.
        start_offset_s: shifts all times, for windows that follow each other; beyond its ends the action stands still.
        lead: so many frames more, as far apart, before the others.

    Raises:
        ValueError: if the split is unknown.
    """
    return paint_clip(plan_clip(seed, split, num_frames, span_s, verb, noun, start_offset_s, lead), size)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldView:
    """A stream as one source shows it.

    size: (H, W) of the frames that come out.  rotate: degrees clockwise by which a frame has to be turned to stand
    upright, as for a camera that is mounted sideways.  seconds: length, None for ever.
    """

    uri: str
    world: World
    size: tuple[int, int]
    fps: float
    rotate: int
    seconds: float | None
    black: bool
    realtime: bool

    @property
    def upright_size(self) -> tuple[int, int]:
        """(H, W) of the picture before it is turned."""
        return self.size if self.rotate % 180 == 0 else (self.size[1], self.size[0])

    def stamp_ns(self, index: int) -> int:
        """Media time of frame `index`."""
        return round(index * 1e9 / self.fps)

    def picture(self, index: int) -> UInt8Array:
        """Frame `index`, (H, W, 3) uint8 RGB."""
        if self.black:
            return np.zeros((*self.size, 3), np.uint8)
        image, _ = self.world.render(self.stamp_ns(index) / 1e9, self.upright_size)
        return np.ascontiguousarray(np.rot90(image, self.rotate // 90))

    def truth(self, stamp_ns: int) -> WorldTruth:
        """The truth at a stamp with boxes in pixels of the frames that come out; black frames show no object."""
        truth = self.world.truth(stamp_ns / 1e9, self.upright_size)
        if self.black:
            return replace(truth, boxes=np.full_like(truth.boxes, np.nan))
        return replace(truth, boxes=_turn_boxes(truth.boxes, self.upright_size, self.rotate))


def _turn_boxes(boxes: Boxes, size: tuple[int, int], rotate: int) -> Boxes:
    """Boxes of an upright picture of `size` (H, W) in the frame that needs `rotate` degrees to stand upright."""
    height, width = size
    for _ in range(rotate // 90):
        boxes = np.stack([boxes[:, 1], width - boxes[:, 2], boxes[:, 3], width - boxes[:, 0]], 1)
        height, width = width, height
    return boxes


_DEFAULTS = {
    "seed": "0",
    "size": "1280x720",
    "fps": "30",
    "rotate": "0",
    "seconds": "",
    "split": "heldout",
    "hard": "0",
    "black": "0",
    "realtime": "0",
}
_MEANING = {
    "seed": "a whole number from 0",
    "size": "width x height between 16 and 8192, as 1280x720",
    "fps": "frames per second between 0.1 and 1000",
    "rotate": "0, 90, 180 or 270",
    "seconds": "a length in seconds above 0",
    "split": "one of " + ", ".join(SPLITS),
    "hard": "0 or 1",
    "black": "0 or 1",
    "realtime": "0 or 1",
}


def world_from_uri(uri: str) -> WorldView:
    """The stream that a URI such as `world?seed=7&size=1280x720&fps=30&rotate=90&seconds=60&split=heldout` means.

    `hard=1` makes identities difficult to keep (`World`).

    Raises:
        UserError: a key is unknown or a value makes no sense.
    """
    head, _, query = uri.partition("?")
    if head != "world":
        raise UserError(f"{uri}: the synthetic world is written world or world?seed=7&size=1280x720")
    values = dict(_DEFAULTS)
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in values:
            near = difflib.get_close_matches(key, values, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else "it knows " + ", ".join(values)
            raise UserError(f"{uri}: the world has no option {key!r}; {hint}")
        values[key] = value
    parsed: dict[str, float] = {}
    for key, low, high in (("seed", 0, 2**62), ("fps", 0.1, 1000), ("rotate", 0, 270), ("seconds", 1e-9, 1e9)):
        if key == "seconds" and not values[key] and "seconds=" not in query:
            continue
        parsed[key] = _number(uri, key, values[key], low, high)
    if parsed["rotate"] % 90 or parsed["seed"] % 1:
        raise _bad(uri, "rotate" if parsed["rotate"] % 90 else "seed", values)
    for key in ("hard", "black", "realtime"):
        if values[key] not in ("0", "1"):
            raise _bad(uri, key, values)
    if values["split"] not in SPLITS:
        raise _bad(uri, "split", values)
    width, _, height = values["size"].lower().partition("x")
    if not all(v.isascii() and v.isdigit() and 16 <= int(v) <= 8192 for v in (width, height)):
        raise _bad(uri, "size", values)
    return WorldView(
        uri=uri,
        world=World(int(values["seed"]), values["split"], hard=values["hard"] == "1"),
        size=(int(height), int(width)),
        fps=parsed["fps"],
        rotate=int(parsed["rotate"]),
        seconds=parsed.get("seconds"),
        black=values["black"] == "1",
        realtime=values["realtime"] == "1",
    )


def _bad(uri: str, key: str, values: dict[str, str]) -> UserError:
    return UserError(f"{uri}: {key} is {values[key]!r}; give {_MEANING[key]}")


def _number(uri: str, key: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text) if key != "seed" else int(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise _bad(uri, key, {key: text})
    return value


class WorldSource(SourceBase):
    """The synthetic world as a source: every frame in order, stamped with its media time.

    With `realtime=1` a frame is handed out when its time has come by the wall clock; frames are never skipped.
    """

    def __init__(self, uri: str = "world") -> None:
        super().__init__(uri)
        self._view = world_from_uri(uri)
        self._started_s: float | None = None
        self._closed = False

    def read(self, timeout_s: float = 1.0) -> Frame | None:
        """The next frame; None if its time by the wall clock is further away than the timeout."""
        view, index = self._view, self._frames_in
        stamp_ns = view.stamp_ns(index)
        if self._closed or (view.seconds is not None and stamp_ns >= view.seconds * 1e9):
            raise EndOfSource(f"{self.uri}: the end after {index} frames")
        if view.realtime:
            now_s = time.monotonic()
            if self._started_s is None:
                self._started_s = now_s
            wait_s = self._started_s + stamp_ns / 1e9 - now_s
            time.sleep(min(max(wait_s, 0.0), timeout_s))
            if wait_s > timeout_s:
                return None
        self._frames_in = index + 1
        return Frame(
            image=view.picture(index),
            stamp_ns=stamp_ns,
            index=index,
            source=self.uri,
            clock="media",
            stamp_source="synthetic",
        )

    def close(self) -> None:
        """Ends the stream."""
        self._closed = True
