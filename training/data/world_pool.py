"""A pool of rendered world clips on disk, shared by every run that asks for the same one.

Rendering costs as much as a training step, so clips are rendered once, in parallel, into memory-mapped arrays.

Shapes: M clips of the pool, T frames, S picture size, O objects (padded).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from henasy_stream.config import HenasyConfig
from henasy_stream.sources import _world
from henasy_stream.sources.world import NOUNS, WorldClip, cut_clips, render_clip

Kind = Literal["single", "cut"]
MAX_OBJECTS = 6
ABSENT, UNNAMED = -2, -1
HAND_INDEX = len(NOUNS)
BACKGROUND = "background"
_CHUNK = 100
_STREAM_S = 60.0


@dataclass(frozen=True, kw_only=True)
class WorldPool:
    """Clips with what a detector and a narrator would tell of them.

    frames: (M, T, S, S, 3) uint8, T with the frames before the window.
    instances: (M, T, S, S) uint8, 0 background, i + 1 for column i; for scoring only.
    boxes: (M, T, O, 4) float32 in 0..1 of the picture, NaN where not visible.
    noun: (M, O) int, true class of each object: index into NOUNS, HAND_INDEX, or ABSENT for padding; see `named`.
    """

    frames: npt.NDArray[np.uint8]
    instances: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.float32]
    noun: npt.NDArray[np.int8]
    target: npt.NDArray[np.int8]
    verb_class: npt.NDArray[np.int8]
    noun_class: npt.NDArray[np.int8]
    narrations: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.frames)

    def named(self, *, labelled_boxes: bool) -> npt.NDArray[np.int64]:
        """(M, O): the class of each box as far as it is told, UNNAMED for other objects, ABSENT for padding.

        With labelled boxes the detector names whatever it boxes; without, it names hands, and the narrator one object.
        """
        column = np.arange(self.noun.shape[1])
        told = (column == self.target[:, None]) | (self.noun == HAND_INDEX) | (self.noun == ABSENT) | labelled_boxes
        return np.where(told, self.noun, UNNAMED).astype(np.int64)


_ARRAYS = ("frames", "instances", "boxes", "noun", "target", "verb_class", "noun_class")


@dataclass(frozen=True, kw_only=True)
class _Shot:
    """How a clip is taken: side in pixels, frames of the window and before it, seconds of the window."""

    size: int
    num_frames: int
    lead: int
    span_s: float


def _single_clips(split: str, first: int, shot: _Shot) -> Iterator[WorldClip]:
    square, frames = (shot.size, shot.size), shot.num_frames
    for seed in itertools.count(first):
        yield render_clip(seed, split=split, size=square, num_frames=frames, span_s=shot.span_s, lead=shot.lead)


def _cut_clips(split: str, first: int, shot: _Shot) -> Iterator[WorldClip]:
    square, frames = (shot.size, shot.size), shot.num_frames
    for seed in itertools.count(first):
        cuts = cut_clips(
            seed, split, seconds=_STREAM_S, size=square, num_frames=frames, span_s=shot.span_s, lead=shot.lead
        )
        # an object carried away for another may be one too many; its clip is left out
        yield from (clip for clip in cuts if len(clip.objects) <= MAX_OBJECTS)


def _render_chunk(kind: Kind, split: str, first: int, count: int, shot: _Shot) -> dict[str, object]:
    cv2.setNumThreads(1)
    frames, size = shot.lead + shot.num_frames, shot.size
    out: dict[str, object] = {
        "frames": np.empty((count, frames, size, size, 3), np.uint8),
        "instances": np.empty((count, frames, size, size), np.uint8),
        "boxes": np.full((count, frames, MAX_OBJECTS, 4), np.nan, np.float32),
        "noun": np.full((count, MAX_OBJECTS), ABSENT, np.int8),
        "target": np.empty(count, np.int8),
        "verb_class": np.empty(count, np.int8),
        "noun_class": np.empty(count, np.int8),
        "narrations": [],
    }
    clips = (_single_clips if kind == "single" else _cut_clips)(split, first, shot)
    for i, clip in enumerate(itertools.islice(clips, count)):
        n = len(clip.objects)
        out["frames"][i], out["instances"][i] = clip.frames, clip.instances  # type: ignore[index]
        out["boxes"][i, :, :n] = clip.boxes / size  # type: ignore[index]
        out["noun"][i, :n] = [HAND_INDEX if o.noun_index < 0 else o.noun_index for o in clip.objects]  # type: ignore[index]
        out["target"][i], out["verb_class"][i], out["noun_class"][i] = clip.target, clip.verb, clip.noun  # type: ignore[index]
        out["narrations"].append(clip.narration)  # type: ignore[attr-defined]
    return out


def _renderer_digest() -> str:
    """Changes with any line of the renderer, so that no pool outlives the code that drew it."""
    digest = hashlib.sha256()
    for path in sorted(Path(_world.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _key(shot: _Shot, split: str, clips: int, cut: int, seed: int) -> str:
    text = f"{split}/{clips}/{cut}/{seed}/{shot}"
    return f"{split}-{clips}-{hashlib.sha256((_renderer_digest() + text).encode()).hexdigest()[:12]}"


def open_pool(
    root: Path,
    config: HenasyConfig,
    *,
    split: str,
    clips: int,
    seed: int,
    cut: int = 0,
    lead: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> WorldPool:
    """Open the pool of these values, rendering it first if it is not there.

    Args:
        root: folder of all pools.
        config: says picture size, frames and span.
        split: "train", "heldout" or "pairs", as in `render_clip`; splits never share a clip.
        clips: size of the pool.
        seed: pools of different seeds share no clip.
        cut: how many of the clips are cut out of streams (`cut_clips`); the others are `render_clip`'s.
        lead: so many frames of a clip come before the window that its narration tells of.
        progress: told how many clips have just been rendered.
    """
    vision = config.vision
    shot = _Shot(size=vision.image_size, num_frames=vision.num_frames, lead=lead, span_s=config.preprocess.span_s)
    folder = root / _key(shot, split, clips, cut, seed)
    if not (folder / "narrations.json").exists():
        _render_pool(folder, shot, split, clips, cut, seed, progress)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    narrations = tuple(json.loads((folder / "narrations.json").read_text()))
    return WorldPool(**arrays, narrations=narrations)


def _render_pool(
    folder: Path, shot: _Shot, split: str, clips: int, cut: int, seed: int, progress: Callable[[int], None]
) -> None:
    building = folder.with_name(f"{folder.name}.{os.getpid()}.building")
    building.mkdir(parents=True, exist_ok=True)
    stores: dict[str, np.memmap] = {}
    narrations: list[str] = []
    base = 10_000_000 * seed
    starts = range(0, clips, _CHUNK)
    # Spawned: a fork of a process whose threads (torch, OpenCV) hold a lock would wait for ever.
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as workers:
        jobs = [
            workers.submit(
                _render_chunk,
                "single" if start < clips - cut else "cut",
                split,
                base + start,
                min(_CHUNK, clips - start),
                shot,
            )
            for start in starts
        ]
        for start, job in zip(starts, jobs, strict=True):
            chunk = job.result()
            for name in _ARRAYS:
                part: np.ndarray = chunk[name]  # type: ignore[assignment]
                if name not in stores:
                    stores[name] = np.lib.format.open_memmap(
                        building / f"{name}.npy", mode="w+", dtype=part.dtype, shape=(clips, *part.shape[1:])
                    )
                stores[name][start : start + len(part)] = part
            narrations.extend(chunk["narrations"])  # type: ignore[arg-type]
            progress(len(chunk["target"]))  # type: ignore[arg-type]
    for store in stores.values():
        store.flush()
    (building / "narrations.json").write_text(json.dumps(narrations))
    try:
        building.replace(folder)
    except OSError:  # another run finished the same pool first
        if not (folder / "narrations.json").exists():
            raise
