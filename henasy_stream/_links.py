"""Lines between tracks that have to do with each other, drawn into a picture in place."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from henasy_stream import _draw
from henasy_stream._lettering import line_height, width_of
from henasy_stream._palette import colour_of
from henasy_stream.types import Box, Relation, Track, UInt8Array

_WHITE, _DARK = (255, 255, 255), (20, 20, 20)
_INWARD = 0.25  # a line begins and ends so far inside a box, in shares of its size

Place = tuple[int, int, int, int]  # left, top, right, bottom


def links(
    image: UInt8Array, tracks: Sequence[Track], relations: Sequence[Relation], font: int, line: int
) -> list[Place]:
    """A thin line from each subject to its object, with a dot in the object's colour at its end and the predicate.

    Returns the places of the words.  Where there is no room for a word, or another stands there, it is left out.
    """
    boxes = {track.id: track.box_xyxy for track in tracks}
    known = [r for r in relations if r.subject_id in boxes and r.object_id in boxes]
    taken: list[Place] = []
    for relation in sorted(known, key=lambda r: -r.score):
        start, end = _ends(boxes[relation.subject_id], boxes[relation.object_id])
        cv2.line(image, start, end, _DARK, line + 2, cv2.LINE_AA)
        cv2.line(image, start, end, _WHITE, line, cv2.LINE_AA)
        for at, radius, track in ((start, line + 1, relation.subject_id), (end, 2 * line + 2, relation.object_id)):
            _draw.disc(image, *at, radius + 1, _DARK)
            _draw.disc(image, *at, radius, colour_of(track))
        place = _word(image, relation.predicate, end, start, radius=2 * line + 3, font=font, taken=taken)
        taken += [place] if place else []
    return taken


def _word(
    image: UInt8Array,
    text: str,
    at: tuple[int, int],
    away_from: tuple[int, int],
    *,
    radius: int,
    font: int,
    taken: Sequence[Place],
) -> Place | None:
    """Beside `at`, first on the side that the line does not come from."""
    size = max(8, round(font * 0.72))
    width, height = width_of(text, size) + size, line_height(size)
    left, right, y = at[0] - radius - 2 - width, at[0] + radius + 2, at[1] - height // 2
    for x in (left, right) if away_from[0] > at[0] else (right, left):
        place = (x, y, x + width, y + height)
        inside = x >= 0 and y >= 0 and place[2] <= image.shape[1] and place[3] <= image.shape[0]
        if inside and not any(x < r and place[2] > k and y < b and place[3] > t for k, t, r, b in taken):
            _draw.panel(image, x, y, width, height, max(1, height // 3))
            _draw.paste(image, _draw.text_sprite(text, size, _WHITE, opacity=0.9), x + size // 2, y)
            return place
    return None


def _ends(subject: Box, thing: Box) -> tuple[tuple[int, int], tuple[int, int]]:
    """From where the subject comes nearest to the middle of the object, to there."""
    end = _middle(thing)
    return _inside(subject, end), (round(end[0]), round(end[1]))


def _middle(box: Box) -> npt.NDArray[np.float64]:
    return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])


def _inside(box: Box, towards: npt.NDArray[np.float64]) -> tuple[int, int]:
    low, high = np.array(box[:2]), np.array(box[2:])
    inset = _INWARD * (high - low)
    x, y = np.clip(towards, low + inset, high - inset)
    return round(float(x)), round(float(y))
