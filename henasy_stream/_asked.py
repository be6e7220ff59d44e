"""What the picture says of queries: rings around the tracks that act, and a list of all answers."""

from __future__ import annotations

from collections.abc import Sequence

import cv2

from henasy_stream import _draw
from henasy_stream._lettering import fit, line_height, width_of
from henasy_stream._palette import colour_of, lighter
from henasy_stream.types import QueryAnswer, Track, UInt8Array

_WHITE, _GREY, _DARK = (255, 255, 255), (190, 190, 196), (20, 20, 20)
_MOST_DOTS = 4
_WIDER = 1.1  # the ring lies outside of the box's sides, and may cut its corners

Place = tuple[int, int, int, int]  # left, top, right, bottom


def rings(image: UInt8Array, tracks: Sequence[Track], answers: Sequence[QueryAnswer], line: int) -> None:
    """An ellipse around each visible track that acts, the thicker the more it has to do with the action."""
    weights: dict[int, float] = {}
    for answer in answers:
        if answer.kind == "action":
            for number, weight in zip(answer.track_ids, answer.track_scores, strict=True):
                weights[number] = max(weight, weights.get(number, 0.0))
    for track in tracks:
        if track.id not in weights or track.state == "lost":
            continue
        x0, y0, x1, y1 = track.box_xyxy
        centre = round((x0 + x1) / 2), round((y0 + y1) / 2)
        axes = round((x1 - x0) / 2 * _WIDER) + line, round((y1 - y0) / 2 * _WIDER) + line
        thick = line + round(line * min(weights[track.id], 1.0))
        for colour, width in ((_DARK, thick + line + 3), (_WHITE, thick + line + 1), (colour_of(track.id), thick)):
            cv2.ellipse(image, centre, axes, 0, 0, 360, colour, width, cv2.LINE_AA)


def listing(image: UInt8Array, answers: Sequence[QueryAnswer], size: int) -> list[Place]:
    """All answers in the top left corner, absent ones in grey, with a dot for each of their tracks.

    Returns the places that it covers.
    """
    height, width = image.shape[:2]
    pad, row = max(3, size // 2), line_height(size)
    room = width // 2 - 4 * pad
    most = (height // 2 - pad) // row
    if not answers or room < 4 * size or most < 1:
        return []
    radius = max(3, round(size * 0.22))  # a smaller disc is a diamond
    step = 2 * radius + max(2, radius // 2)
    lines, widths = [], []
    for answer in answers[:most]:
        detail = f"{100 * answer.score:.0f}%" if answer.present else "absent"
        dots = [lighter(colour_of(number), 0.1) for number in answer.track_ids[:_MOST_DOTS]]
        beside = pad + width_of(detail, size) + (pad + step * len(dots) if dots else 0)
        text, _ = fit(answer.text, size, max(room - beside, 1), size)
        lines.append((text, detail, dots, answer.present))
        widths.append(width_of(text, size) + beside)
    wide, high = max(widths) + 2 * pad, row * len(lines) + pad
    _draw.panel(image, pad, pad, wide, high, min(pad, high // 2))
    y = pad + pad // 2
    for text, detail, dots, present in lines:
        x, colour = 2 * pad, _WHITE if present else _GREY
        _draw.paste(image, _draw.text_sprite(text, size, colour), x, y)
        x += width_of(text, size) + pad
        _draw.paste(image, _draw.text_sprite(detail, size, colour, opacity=0.85), x, y)
        x += width_of(detail, size) + pad
        for dot in dots:
            _draw.disc(image, x + radius, y + size - round(size * 0.36), radius, dot)
            x += step
        y += row
    return [(0, 0, pad + wide, pad + high)]
