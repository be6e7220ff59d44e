"""HelpingHands' annotations: hand and object boxes by frame, and which nouns of the taxonomy a narration names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from henasy_stream.errors import UserError
from training.data.pickles import load_arrays
from training.data.records import Clip
from training.data.tables import read_table

CHUNK_S = 600
FRAMES, PER_KIND = 4, 2
BOX_SHAPE = (FRAMES, 2 * PER_KIND, 4)
"""Boxes are for LaViLa's four centre frames of a clip: the two best hands, then the two best objects, of each."""

PADDING = -1
"""Fills up nouns; HelpingHands fills up with 0, which is a noun."""

EXCLUDED_NOUNS = frozenset({
    "hand", "left hand", "right hand", "leg", "man", "woman", "person", "lady", "they", "ground", "camera",
})  # fmt: skip
EXCLUDED_COLUMNS = (102, 504, 364, 321, 556)
"""Noun classes (hand, person, ground, …) that HelpingHands leaves out when it looks for clips that share a noun."""

KINDS = ("hand_dets", "obj_dets")
Boxes = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class HandObjectBoxes:
    """The box files below `root`: `<video>/<chunk of 600 s>.handobj.pkl`."""

    root: Path

    def __call__(self, clip: Clip) -> Boxes | None:
        """(4 frames, 4 boxes, 4) x0 y0 x1 y1 in 0..1 of the whole frame: two hands, two objects; NaN where absent.

        None when there is no file, or no entry for the clip's start to 0.001 s.  Width and height are each scaled by
        their own, so a model that crops needs its crop's affine on top.

        Raises:
            UserError: a file that holds anything but such boxes.
        """
        path = self.root / clip.video / f"{int(clip.start // CHUNK_S)}.handobj.pkl"
        entries = _entries(path) if path.exists() else {}
        entry = next((entries[key] for key in _keys(clip.start) if key in entries), None)
        if entry is None:
            return None
        try:
            return _clip_boxes(entry)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise UserError(f"{path}, clip at {clip.start:g} s: not hand and object boxes ({error!r})") from None


def read_taxonomy(path: Path) -> tuple[tuple[str, ...], ...]:
    """The words of each noun of `narration_noun_taxonomy.csv`; the place in the result is the noun's index.

    Raises:
        UserError: no column `group`, or a cell that is no list of strings.
    """
    return tuple(row.texts("group") for row in read_table(path, ("group",), separator=","))


def narration_nouns(
    text: str, tags: Sequence[int], taxonomy: Sequence[Sequence[str]], *, limit: int = 4
) -> npt.NDArray[np.int64]:
    """The taxonomy's nouns that a narration names, (limit,) indices, filled up with PADDING.

    A word counts if it belongs to one of the first `limit` tagged nouns; two-word nouns are looked for first, and
    their words are then not counted again.  `EXCLUDED_NOUNS` never count, and no noun counts twice.

    Args:
        text: the narration.
        tags: its nouns' indices (column `tag_noun`).
        taxonomy: as `read_taxonomy` returns it.
        limit: how many nouns at most.

    Raises:
        UserError: a tag that the taxonomy lacks.
    """
    if any(not 0 <= tag < len(taxonomy) for tag in tags):
        raise UserError(f"noun tags {list(tags)} of {text!r}: the taxonomy has 0..{len(taxonomy) - 1}")
    index = {word: tag for tag in reversed(tags[:limit]) for word in taxonomy[tag] if word not in EXCLUDED_NOUNS}
    words = [_singular(word) for word in text.split()]
    pairs = [f"{first} {second}" for first, second in pairwise(words)]
    found = [pair for pair in pairs if pair in index]
    used = {part for pair in found for part in pair.split()}
    found += [word for word in words if word in index and word not in used]
    nouns = list(dict.fromkeys(index[word] for word in found))[:limit]
    return np.array(nouns + [PADDING] * (limit - len(nouns)), np.int64)


def _singular(word: str) -> str:
    word = word.replace(".", "").replace(",", "")
    return word[:-1] if word.endswith("s") else word


def _keys(start: float) -> tuple[float, float, float]:
    return round(start, 3), round(start - 0.001, 3), round(start + 0.001, 3)


@lru_cache(maxsize=32)
def _entries(path: Path) -> Mapping[float, Any]:
    entries = load_arrays(path)
    if not isinstance(entries, dict):
        raise UserError(f"{path}: holds a {type(entries).__name__}, expected boxes by the clip's start")
    return entries


def _clip_boxes(entry: Mapping[Any, Any]) -> Boxes:
    height, width = float(entry["info"]["height"]), float(entry["info"]["width"])
    if not (height > 0 and width > 0):
        raise ValueError(f"a picture of {width:g} x {height:g}")
    boxes = np.full(BOX_SHAPE, np.nan, np.float32)
    for frame in range(FRAMES):
        for place, kind in enumerate(KINDS):
            best = _best(entry.get(frame, {}).get(kind))
            boxes[frame, place * PER_KIND : place * PER_KIND + len(best)] = best / (width, height, width, height)
    return np.clip(boxes, 0.0, 1.0)


def _best(detections: Any) -> npt.NDArray[np.float64]:
    """(up to 2, 4) by falling score; boxes without an area are absent ones."""
    if detections is None or not len(detections):
        return np.empty((0, 4))
    rows = np.asarray(detections, np.float64)
    if rows.ndim != 2 or rows.shape[1] < 5:
        raise ValueError(f"detections of shape {rows.shape}")
    rows = rows[(rows[:, 0] < rows[:, 2]) & (rows[:, 1] < rows[:, 3])]
    return rows[np.argsort(-rows[:, 4], kind="stable")[:PER_KIND], :4]
