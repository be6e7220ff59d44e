"""Boxes of hands and objects for one's own clips: a detector's findings at the frames that training will see.

One `<video>.npz` a video, without any pickle: start, end (M,) seconds; boxes (M, 4 frames, 4, 4) float32 x0 y0 x1 y1 in
0..1 of the frame, two hands then two objects, NaN where absent; scores (M, 4, 4); detector, its name.
"""

from __future__ import annotations

import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from henasy_stream.errors import UserError
from training.data.chunks import VideoStore
from training.data.clip_reader import read_clip
from training.data.hand_object import BOX_SHAPE, PER_KIND
from training.data.records import Clip, ClipError
from training.preparation.detectors import Detections, Detector

_REACH = 0.15
"""A hand's box grown by this share of its sides on each side reaches what it touches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxReport:
    """clips: with boxes now, kept: of them from an earlier run.  hands, objects: boxes found.  unreadable: clips by the
    file that is to blame.
    """

    clips: int
    kept: int
    hands: int
    objects: int
    unreadable: dict[str, int]


def detect_boxes(
    clips: Iterable[Clip],
    store: VideoStore,
    detector: Detector,
    folder: Path,
    *,
    progress: Callable[[int], None] = lambda clips: None,
) -> BoxReport:
    """Writes the boxes of every clip; videos whose file is there for the same clips and detector are kept.

    Args:
        clips: of any videos, in any order.
        store: where their frames are.
        detector: looks at LaViLa's four middle frames of a clip.
        folder: of the npz files.
        progress: told how many clips have just been done.
    """
    by_video: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_video[clip.video].append(clip)
    folder.mkdir(parents=True, exist_ok=True)
    total = kept = hands = objects = 0
    unreadable: Counter[str] = Counter()
    for video, wanted in sorted(by_video.items()):
        path = folder / f"{video}.npz"
        boxes = _kept(path, wanted, detector.name)
        if boxes is None:
            boxes = _video(path, wanted, store, detector, unreadable, progress)
        else:
            kept += len(boxes)
            progress(len(wanted))
        total += len(boxes)
        present = np.isfinite(boxes[..., 0])
        hands += int(present[:, :, :PER_KIND].sum())
        objects += int(present[:, :, PER_KIND:].sum())
    return BoxReport(clips=total, kept=kept, hands=hands, objects=objects, unreadable=dict(unreadable))


def _video(
    path: Path,
    clips: list[Clip],
    store: VideoStore,
    detector: Detector,
    unreadable: Counter[str],
    progress: Callable[[int], None],
) -> npt.NDArray[np.float32]:
    done: list[Clip] = []
    found: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = []
    for clip in clips:
        try:
            images = read_clip(store, clip, BOX_SHAPE[0])
        except ClipError as error:
            unreadable[error.path] += 1
        else:
            times = middle_times(clip, BOX_SHAPE[0])
            frames = [detector.detect(i, clip.video, float(t)) for i, t in zip(images, times, strict=True)]
            chosen = [choose(frame) for frame in frames]
            found.append((np.stack([c[0] for c in chosen]), np.stack([c[1] for c in chosen])))
            done.append(clip)
        progress(1)
    boxes = np.stack([b for b, _ in found]) if found else np.empty((0, *BOX_SHAPE), np.float32)
    scores = np.stack([s for _, s in found]) if found else np.empty((0, *BOX_SHAPE[:2]), np.float32)
    if not done:
        return boxes
    part = path.with_name(f".{path.stem}.part.npz")
    np.savez_compressed(
        part, start=[c.start for c in done], end=[c.end for c in done], boxes=boxes, scores=scores,
        detector=np.array(detector.name),
    )  # fmt: skip
    part.replace(path)
    return boxes


def _kept(path: Path, clips: list[Clip], detector: str) -> npt.NDArray[np.float32] | None:
    """The boxes of an earlier run, if it was for these clips and by this detector."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            same = str(arrays["detector"]) == detector and np.array_equal(arrays["start"], [c.start for c in clips])
            return arrays["boxes"] if same and np.array_equal(arrays["end"], [c.end for c in clips]) else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: damaged ({error}); delete it and run again") from None


def middle_times(clip: Clip, count: int) -> npt.NDArray[np.float64]:
    """(count,) seconds of a video: the middles of equal parts of the clip, to a frame's length those that are read."""
    return clip.start + (np.arange(count) + 0.5) / count * (clip.end - clip.start)


def choose(found: Detections) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(4, 4) boxes and (4,) scores: the two best hands, then two objects, those that a hand touches first.

    NaN and 0 where there are fewer.  The order among objects is by touch, then by score: HelpingHands' boxes, too, are
    of objects in hands.
    """
    boxes = np.full(BOX_SHAPE[1:], np.nan, np.float32)
    scores = np.zeros(BOX_SHAPE[1], np.float32)
    hands = _best(found, np.flatnonzero(found.is_hand), np.zeros(len(found.scores), np.bool_))
    touched = _touched(found.boxes, found.boxes[hands])
    objects = _best(found, np.flatnonzero(~found.is_hand), touched)
    for first, chosen in ((0, hands), (PER_KIND, objects)):
        boxes[first : first + len(chosen)] = found.boxes[chosen]
        scores[first : first + len(chosen)] = found.scores[chosen]
    return boxes, scores


def _best(
    found: Detections, candidates: npt.NDArray[np.int64], touched: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    order = np.lexsort((-found.scores[candidates], ~touched[candidates]))
    return candidates[order[:PER_KIND]]


def _touched(boxes: npt.NDArray[np.float32], hands: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """(N,) whether a box overlaps one of the hands' boxes, grown by `_REACH`."""
    grow = _REACH * np.concatenate([hands[:, :2] - hands[:, 2:], hands[:, 2:] - hands[:, :2]], 1)
    grown = (hands + grow)[None]
    upper_left = np.maximum(boxes[:, None, :2], grown[..., :2])
    lower_right = np.minimum(boxes[:, None, 2:], grown[..., 2:])
    overlap: npt.NDArray[np.bool_] = np.all(lower_right > upper_left, axis=2)
    return np.asarray(np.any(overlap, axis=1))
