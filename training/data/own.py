"""One's own data as `prepare.py own` leaves it: clips with nouns, verbs, action phrases, boxes and a split by video.

    own.json            layout, what made what, counts
    clips.csv           video, start, end, narration, nouns, verbs, phrases, split: one line a clip
    nouns.txt verbs.txt the words that the places in `nouns` and `verbs` stand for
    videos/             chunks
    boxes/<video>.npz   hands and objects of the clips' frames

`clips.csv` may be edited by hand: the split, a phrase, a line taken out.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from henasy_stream.errors import UserError
from training.data.chunks import VideoStore
from training.data.clip_table import ClipTable
from training.data.hand_object import BOX_SHAPE, Boxes
from training.data.records import Clip
from training.data.tables import Row, read_json, read_table

COLUMNS = ("video", "start", "end", "narration", "nouns", "verbs", "phrases", "split")
Split = Literal["train", "heldout"]
SPLITS: tuple[Split, ...] = ("train", "heldout")


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnData:
    """A prepared folder.

    clips: all of them, nouns and verbs as places in `nouns` and `verbs`.  phrases: the "-ing" phrases of each clip.
    heldout: (N,) bool, the clips of held-out videos.
    """

    root: Path
    clips: ClipTable
    phrases: tuple[tuple[str, ...], ...]
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    heldout: npt.NDArray[np.bool_]
    layout: str
    chunk_s: float

    def rows(self, split: Split) -> npt.NDArray[np.int64]:
        """Rows of `clips` and `phrases` that belong to a split."""
        return np.flatnonzero(self.heldout == (split == "heldout"))

    def store(self, report: Callable[[str], None] = print) -> VideoStore:
        """Where the frames are; UserError as of `VideoStore.open`."""
        return VideoStore.open(
            self.root / "videos",
            self.clips.videos,
            layout=self.layout,  # type: ignore[arg-type]
            chunk_s=self.chunk_s,
            report=report,
        )

    @property
    def boxes(self) -> OwnBoxes | None:
        """Hands and objects, None where the folder was prepared without a detector."""
        folder = self.root / "boxes"
        return OwnBoxes(root=folder) if folder.is_dir() else None


def read_own(root: Path) -> OwnData:
    """Reads a folder that `prepare.py own` has made.

    Raises:
        UserError: no such folder, a file missing, a cell that makes no sense, a video in both splits.
    """
    if not (root / "own.json").is_file():
        raise UserError(f"{root}: no own.json there; make the folder with: python training/prepare.py own")
    about = read_json(root / "own.json")
    if not isinstance(about, dict) or about.get("version") != 1 or not {"layout", "chunk_s"} <= about.keys():
        raise UserError(f"{root / 'own.json'}: not of version 1; run prepare.py own again")
    nouns, verbs = (_words(root / name) for name in ("nouns.txt", "verbs.txt"))
    path = root / "clips.csv"
    rows = list(read_table(path, COLUMNS, separator=","))
    clips = ClipTable.of(_clip(row, len(nouns), len(verbs)) for row in rows)
    if not len(clips):
        raise UserError(f"{path}: no clips")
    splits: dict[str, str] = {}
    for row in rows:
        split, video = row.text("split"), row.text("video")
        if split not in SPLITS:
            raise row.error("split", f"{split!r}; it must be {' or '.join(SPLITS)}")
        if splits.setdefault(video, split) != split:
            raise row.error("split", f"video {video} is in both splits; clips are held out by video")
    return OwnData(
        root=root,
        clips=clips,
        phrases=tuple(row.texts("phrases") for row in rows),
        nouns=nouns,
        verbs=verbs,
        heldout=np.array([row.text("split") == "heldout" for row in rows]),
        layout=str(about["layout"]),
        chunk_s=float(about["chunk_s"]),
    )


def _words(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; run prepare.py own again") from None


def _clip(row: Row, nouns: int, verbs: int) -> Clip:
    start, end = row.number_or_nan("start"), row.number_or_nan("end")
    if not 0 <= start <= end < float("inf"):
        raise row.error("end", f"{start:g}-{end:g} s is no stretch of a video")
    return Clip(
        video=row.text("video"),
        start=start,
        end=end,
        texts=(row.text("narration"),),
        time=start,
        nouns=row.integers("nouns", below=nouns),
        verbs=row.integers("verbs", below=verbs),
        key=str(row.number),
    )


@dataclass(frozen=True, kw_only=True)
class OwnBoxes:
    """The box files below `root`, one `<video>.npz` each; called like `HandObjectBoxes`."""

    root: Path

    def __call__(self, clip: Clip) -> Boxes | None:
        """(4 frames, 4 boxes, 4) x0 y0 x1 y1 in 0..1 of the whole frame: two hands, two objects; NaN where absent.

        Returns:
            None where the files don't have the clip.

        Raises:
            UserError: a damaged file.
        """
        path = self.root / f"{clip.video}.npz"
        return _by_clip(path).get(_key(clip.start, clip.end)) if path.exists() else None


def _key(start: float, end: float) -> tuple[int, int]:
    return round(start * 1000), round(end * 1000)


@lru_cache(maxsize=64)
def _by_clip(path: Path) -> dict[tuple[int, int], Boxes]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            start, end, boxes = arrays["start"], arrays["end"], arrays["boxes"].astype(np.float32)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a file of boxes ({error}); run prepare.py boxes again") from None
    if boxes.shape != (len(start), *BOX_SHAPE) or len(end) != len(start):
        raise UserError(f"{path}: boxes of shape {boxes.shape} for {len(start)} clips; run prepare.py boxes again")
    return {_key(float(a), float(b)): box for a, b, box in zip(start, end, boxes, strict=True)}
