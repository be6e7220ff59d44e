"""The annotated picture: who is where, what is being done, in the pixels of the frame that came in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from henasy_stream import _draw
from henasy_stream._asked import listing, rings
from henasy_stream._lettering import fit, line_height, width_of
from henasy_stream._links import links
from henasy_stream._palette import colour_of, lighter
from henasy_stream.types import Caption, Frame, Perception, Track, UInt8Array

_MASK = 0.5
_LOST = 0.4
LOST_SHOWN_S = 2.0  # after that the box would hang in an empty place
_WHITE, _GREY = (255, 255, 255), (205, 205, 210)

_Place = tuple[int, int, int, int]  # left, top, right, bottom


def annotate(
    frame: Frame,
    perception: Perception,
    legend: str | None = None,
    *,
    visible: npt.NDArray[np.floating] | Sequence[Sequence[float]] | None = None,
) -> UInt8Array:
    """Draws a perception onto its frame.

    Every track has a colour that depends on its id alone.  Seen tracks: mask with soft edges, corners of the box, a
    pill with label, id and probability.  Lost ones: faded, dashed, for 2 s.  Answers to a query: a whole box and a
    magnifying glass; the list of all answers is at the top left, and what acts has a ring.  Relations: a line from
    subject to object.
    Between two windows the marks fade with the age of the result.

    Args:
        frame: the picture; not modified.
        perception: what to draw.
        legend: one or more lines for the top right corner, such as latencies.
        visible: (N, 2) corners, in source pixels, of what the model sees; the rest is dimmed.

    Returns:
        A new RGB picture, (H, W, 3) uint8.
    """
    image = frame.image.copy()
    height, width = image.shape[:2]
    side = min(height, width)
    font = int(np.clip(round(side * 0.030), 11 if side >= 200 else 8, 80))
    line = max(1, round(side / 400))
    if visible is not None:
        _draw.dim_outside(image, np.asarray(visible, np.float64), line)
    age_s = max(0, frame.stamp_ns - perception.window_end_ns) / 1e9
    strength = 1.0 - 0.4 * min(age_s, 1.0)
    tracks = [t for t in perception.tracks if t.state != "removed" and not _long_lost(t, frame.stamp_ns)]
    _draw_masks(image, tracks, perception, strength, line)
    for track in tracks:
        _draw_box(image, track, line)
    rings(image, tracks, perception.queries, line)
    bar = _draw_caption(image, perception.caption, font)
    taken = _draw_legend(image, legend, max(8, round(font * 0.8))) if legend else []
    taken += links(image, tracks, perception.relations, font, line)
    taken += listing(image, perception.queries, max(8, round(font * 0.9)))
    _draw_labels(image, tracks, font, height - bar, taken)
    return image


def _long_lost(track: Track, now_ns: int) -> bool:
    return track.state == "lost" and now_ns - track.last_seen_ns > LOST_SHOWN_S * 1e9


def _draw_masks(image: UInt8Array, tracks: list[Track], perception: Perception, strength: float, line: int) -> None:
    masks = perception.masks
    if masks is None:
        return
    for track in tracks:
        if track.mask_index is not None and 1 <= track.mask_index <= len(masks.probability):
            opacity = _MASK * strength * (_LOST if track.state == "lost" else 1.0)
            row = masks.probability[track.mask_index - 1]
            _draw.soft_mask(image, row, masks.to_source, colour_of(track.id), opacity, line)


def _draw_box(image: UInt8Array, track: Track, line: int) -> None:
    colour, side = colour_of(track.id), min(image.shape[:2])
    if track.state == "lost":
        _draw.rectangle(image, track.box_xyxy, lighter(colour, 0.3), line, dash=max(3, 5 * line))
        return
    if track.query is not None:
        _draw.rectangle(image, track.box_xyxy, (20, 20, 20), line + 2)
        _draw.rectangle(image, track.box_xyxy, lighter(colour, 0.35), line)
    _draw.corners(image, track.box_xyxy, colour, line + (side > 300))


def _draw_labels(image: UInt8Array, tracks: list[Track], font: int, floor: int, taken: list[_Place]) -> None:
    """Pills above their boxes where there is room, on top of nothing else if that can be helped."""
    height, width = image.shape[:2]
    if width < 3 * font or height < 2 * line_height(font):
        return
    for track in sorted(tracks, key=lambda t: (t.state == "lost", t.box_xyxy[1])):
        label = f"{track.query or track.label} · {track.id}"
        text, size = fit(label, font, max(width - 3 * font, 1), max(8, font // 2), bold=True)
        lost = track.state == "lost"
        detail = "lost" if lost else f"{100 * track.label_score:.0f}%"
        sprite = _draw.label_sprite(
            text, detail, size, colour_of(track.id), 0.7 if lost else 0.92, track.query is not None
        )
        w, h = sprite.size
        x = int(np.clip(round(track.box_xyxy[0]), 0, max(width - w, 0)))
        above = round(track.box_xyxy[1]) - h - 2
        y = above if above >= 0 else round(track.box_xyxy[1]) + 3
        y = _free_place(x, y, w, h, taken, max(floor - h, 0))
        taken.append((x, y, x + w, y + h))
        _draw.paste(image, sprite, x, y)


def _free_place(x: int, y: int, w: int, h: int, taken: list[_Place], lowest: int) -> int:
    start = int(np.clip(y, 0, lowest))
    for shift in (0, 1, -1, 2, -2, 3, -3, 4):
        at = start + shift * (h + 2)
        if 0 <= at <= lowest and not any(
            x < right and x + w > left and at < bottom and at + h > top for left, top, right, bottom in taken
        ):
            return at
    return start


def _draw_caption(image: UInt8Array, caption: Caption | None, font: int) -> int:
    """The bar at the bottom; returns its height in pixels."""
    height, width = image.shape[:2]
    large, small = round(font * 1.3), max(8, round(font * 0.8))
    pad = max(4, round(font * 0.55))
    room = width - 2 * pad
    bar = line_height(large) + 2 * pad // 2 + (line_height(small) if caption and caption.alternatives else 0)
    if caption is None or room < 3 * font or bar > height // 2:
        return 0
    top = height - bar
    _draw.shade(image, 0, top, width, height, 0.62)
    dots = [colour_of(i) for i in caption.track_ids][:6]
    radius = max(2, round(large * 0.2))
    score = f"{100 * caption.score:.0f}%{' held' if caption.held else ''}"
    score_width = width_of(score, small) + pad
    dots_width = len(dots) * (2 * radius + max(2, radius)) + (radius if dots else 0)
    text, size = fit(caption.text, large, max(room - score_width - dots_width, 1), max(8, round(large * 0.7)), True)
    y = top + pad // 2
    x = pad
    for dot in dots:
        _draw.disc(image, x + radius, y + large - round(size * 0.36), radius, dot)
        x += 2 * radius + max(2, radius)
    x += radius if dots else 0
    _draw.paste(image, _draw.text_sprite(text, size, _WHITE, bold=True), x, y + large - size)
    _draw.paste(
        image, _draw.text_sprite(score, small, _GREY), x + width_of(text, size, True) + pad // 2, y + large - small
    )
    if caption.alternatives:
        others = "   ".join(f"{a.text} {100 * a.score:.0f}%" for a in caption.alternatives)
        text, size = fit(others, small, room, small)
        _draw.paste(image, _draw.text_sprite(text, size, _GREY, opacity=0.8), pad, y + line_height(large))
    return bar


def _draw_legend(image: UInt8Array, legend: str, size: int) -> list[_Place]:
    """Returns the places that it covers."""
    width = image.shape[1]
    pad = max(3, size // 2)
    room = width - 4 * pad
    lines = [fit(text, size, max(room, 1), max(8, size // 2)) for text in legend.splitlines()]
    lines = [(text, s) for text, s in lines if text]
    height = sum(line_height(s) for _, s in lines) + pad
    if not lines or room < 3 * size or height > image.shape[0] // 2:
        return []
    widest = max(width_of(text, s) for text, s in lines)
    x0, y = width - widest - 3 * pad, pad
    _draw.panel(image, x0, y, widest + 2 * pad, height, min(pad, height // 2))
    y += pad // 2
    for text, s in lines:
        _draw.paste(image, _draw.text_sprite(text, s, _WHITE, opacity=0.92), x0 + pad, y)
        y += line_height(s)
    return [(x0, pad, width, pad + height)]
