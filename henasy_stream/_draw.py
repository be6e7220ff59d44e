"""Drawing into a picture in place: soft blends on the regions concerned only, all in 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from henasy_stream import _lettering
from henasy_stream._palette import Colour, lighter, text_colour
from henasy_stream.types import Box, UInt8Array

Array = npt.NDArray[Any]

_ENLARGE = 8


@dataclass(frozen=True, eq=False)
class Sprite:
    """A small picture (h, w, 3) with its opacity (h, w, 3), both uint8; the colours are multiplied by the opacity."""

    colour: Array
    opacity: Array

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int(self.opacity.shape[1]), int(self.opacity.shape[0])


def paste(image: UInt8Array, sprite: Sprite, x: int, y: int) -> None:
    """Blends the sprite with its corner at (x, y); what lies outside the picture is left out."""
    w, h = sprite.size
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, image.shape[1]), min(y + h, image.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    part = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
    _blend(image[y0:y1, x0:x1], sprite.colour[part], sprite.opacity[part])


def shade(image: UInt8Array, x0: int, y0: int, x1: int, y1: int, amount: float) -> None:
    """Darkens a rectangle: 0 leaves it, 1 is black."""
    part = image[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    if part.size:
        part[:] = cv2.convertScaleAbs(part, alpha=1 - amount).reshape(part.shape)


def panel(image: UInt8Array, x: int, y: int, width: int, height: int, radius: int) -> None:
    """A dark translucent plate with round corners."""
    mask = _rounded(width, height, radius)
    paste(image, _tinted(mask, (12, 12, 14), 0.7), x, y)


def disc(image: UInt8Array, x: int, y: int, radius: int, colour: Colour) -> None:
    """A filled circle."""
    cv2.circle(image, (x, y), radius, colour, -1, cv2.LINE_AA)


def text_sprite(text: str, size: int, colour: Colour, bold: bool = False, opacity: float = 1.0) -> Sprite:
    """One line of text."""
    return _tinted(_lettering.ink(text, size, bold), colour, opacity)


@lru_cache(maxsize=512)
def label_sprite(label: str, detail: str, size: int, colour: Colour, opacity: float, search: bool) -> Sprite:
    """A rounded pill in `colour`: the label, a small detail behind it, and a magnifying glass before a search."""
    small = max(7, round(size * 0.78))
    ink_colour = text_colour(colour)
    pad, height = max(3, round(size * 0.42)), _lettering.line_height(size) + max(2, size // 5)
    glass = round(size * 0.95) if search else 0
    main = _lettering.ink(label, size, True)
    minor = _lettering.ink(detail, small) if detail else np.zeros((1, 0), np.uint8)
    gap = max(3, size // 4)
    width = 2 * pad + (glass + gap if search else 0) + main.shape[1] + (gap + minor.shape[1] if detail else 0)
    body = _rounded(width, height, min(height // 2, max(3, round(size * 0.45))))
    picture = np.full((height, width, 3), colour, np.uint8)
    x, top = pad, (height - main.shape[0]) // 2
    if search:
        _magnifier(picture, x, height // 2, glass, ink_colour)
        x += glass + gap
    paste(picture, _tinted(main, ink_colour, 1.0), x, top)
    if detail:  # on the same baseline
        paste(picture, _tinted(minor, ink_colour, 0.75), x + main.shape[1] + gap, top + size - small)
    if search:
        outline = cv2.subtract(body, cv2.erode(body, np.ones((3, 3), np.uint8), borderValue=0))
        paste(picture, _tinted(outline, (255, 255, 255), 1.0), 0, 0)
    alpha = cv2.convertScaleAbs(cv2.merge([body, body, body]), alpha=opacity)
    return Sprite(_frozen(cv2.multiply(picture, alpha, scale=1 / 255)), _frozen(alpha))


def soft_mask(
    image: UInt8Array, probability: Array, to_source: Array, colour: Colour, opacity: float, line: int
) -> None:
    """Tints the pixels of a soft mask (h, w) that `to_source` takes to the picture, with a thin brighter contour.

    Edges are a ramp from 0.3 to 0.7 of the probability, interpolated between the cells of the mask.
    """
    roi = _mask_region(probability, to_source, image.shape[1], image.shape[0])
    if roi is None:
        return
    x0, y0, x1, y1 = roi
    levels: Array = np.clip(probability * 255 + 0.5, 0, 255).astype(np.uint8)
    # A cubic enlargement of the few cells, then a linear warp: ten times as fast as a cubic warp.
    levels = cv2.resize(levels, None, fx=_ENLARGE, fy=_ENLARGE, interpolation=cv2.INTER_CUBIC)
    # Continuous coordinates put pixel centres at one half, warpAffine at whole numbers.
    matrix = np.array(to_source, np.float64)
    matrix[:, :2] /= _ENLARGE
    matrix[:, 2] += matrix[:, :2].sum(1) * 0.5 - 0.5 - np.array([x0, y0])
    warped = cv2.warpAffine(levels, matrix, (x1 - x0, y1 - y0), borderMode=cv2.BORDER_REPLICATE)
    inside = _inside(levels.shape, matrix, warped.shape)
    warped = cv2.bitwise_and(warped, inside) if inside is not None else warped
    part = image[y0:y1, x0:x1]
    opaque, *tints = _ramp_tables(colour, round(opacity * 100))
    alpha = cv2.LUT(warped, opaque)
    _blend(part, cv2.merge([cv2.LUT(warped, tint) for tint in tints]), cv2.merge([alpha, alpha, alpha]))
    _, hard = cv2.threshold(warped, 127, 255, cv2.THRESH_BINARY)
    contours, _ = cv2.findContours(hard, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    drawn = _smooth([c for c in contours if len(c) > 8])
    if drawn and opacity > 0.3:
        cv2.polylines(part, drawn, True, lighter(colour, 0.45), line, cv2.LINE_AA, shift=3)


def corners(image: UInt8Array, box: Box, colour: Colour, line: int) -> None:
    """The four corners of a box, over a dark edge that keeps them visible on bright ground."""
    x0, y0, x1, y1 = _pixel_box(image, box)
    reach = max(3, round(0.22 * min(x1 - x0, y1 - y0)))
    dx, dy = min(reach, (x1 - x0) // 2), min(reach, (y1 - y0) // 2)
    paths = [
        np.array([[x, y + sy * dy], [x, y], [x + sx * dx, y]], np.int32)
        for x, sx in ((x0, 1), (x1, -1))
        for y, sy in ((y0, 1), (y1, -1))
    ]
    cv2.polylines(image, paths, False, (20, 20, 20), line + 2, cv2.LINE_AA)
    cv2.polylines(image, paths, False, colour, line, cv2.LINE_AA)


def rectangle(image: UInt8Array, box: Box, colour: Colour, line: int, dash: int = 0) -> None:
    """A whole box, dashed every `dash` pixels if that is not 0."""
    x0, y0, x1, y1 = _pixel_box(image, box)
    if not dash:
        cv2.rectangle(image, (x0, y0), (x1, y1), colour, line, cv2.LINE_AA)
        return
    for x in range(x0, x1, 2 * dash):
        for y in (y0, y1):
            cv2.line(image, (x, y), (min(x + dash, x1), y), colour, line, cv2.LINE_AA)
    for y in range(y0, y1, 2 * dash):
        for x in (x0, x1):
            cv2.line(image, (x, y), (x, min(y + dash, y1)), colour, line, cv2.LINE_AA)


def dim_outside(image: UInt8Array, polygon: Array, line: int) -> None:
    """Darkens what lies outside the polygon (N, 2) in source pixels and outlines it."""
    points = np.round(polygon).astype(np.int32)
    h, w = image.shape[:2]
    keep = cv2.fillConvexPoly(np.zeros((h, w), np.uint8), points, (255,))
    if keep.min() == 255:
        return
    dark = cv2.convertScaleAbs(image, alpha=0.45)
    cv2.copyTo(dark.reshape(image.shape), cv2.bitwise_not(keep), image)
    cv2.polylines(image, [np.minimum(points, [w - 1, h - 1])], True, (170, 170, 170), line, cv2.LINE_AA)


def _blend(part: Array, colour: Array, opacity: Array) -> None:
    under = cv2.multiply(part, cv2.bitwise_not(opacity), scale=1 / 255)
    part[:] = cv2.add(under, colour).reshape(part.shape)


def _tinted(mask: Array, colour: Colour, opacity: float) -> Sprite:
    alpha = cv2.convertScaleAbs(cv2.merge([mask, mask, mask]), alpha=opacity).reshape(*mask.shape, 3)
    full = np.full_like(alpha, colour)
    return Sprite(cv2.multiply(alpha, full, scale=1 / 255).reshape(alpha.shape), alpha)


def _frozen(array: Array) -> Array:
    array.setflags(write=False)
    return array


@lru_cache(maxsize=128)
def _rounded(width: int, height: int, radius: int) -> Array:
    big = np.zeros((4 * height, 4 * width), np.uint8)
    r, w, h = 4 * radius, 4 * width, 4 * height
    cv2.rectangle(big, (r, 0), (w - r - 1, h - 1), (255,), -1)
    cv2.rectangle(big, (0, r), (w - 1, h - r - 1), (255,), -1)
    for x in (r, w - r - 1):
        for y in (r, h - r - 1):
            cv2.circle(big, (x, y), r, (255,), -1)
    return _frozen(cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA))


def _magnifier(picture: UInt8Array, x: int, middle: int, size: int, colour: Colour) -> None:
    radius, line = max(2, round(size * 0.34)), max(1, size // 8)
    centre = (x + radius + line, middle - max(1, size // 10))
    tip = (x + size - line, centre[1] + size - radius - 2 * line)
    cv2.circle(picture, centre, radius, colour, line, cv2.LINE_AA)
    joint = (centre[0] + round(radius * 0.75), centre[1] + round(radius * 0.75))
    cv2.line(picture, joint, tip, colour, line + 1, cv2.LINE_AA)


@lru_cache(maxsize=256)
def _ramp_tables(colour: Colour, percent: int) -> tuple[UInt8Array, ...]:
    """Lookup tables (256,) from probability to opacity, and to red, green and blue multiplied by it."""
    x = np.clip((np.arange(256) / 255 - 0.3) / 0.4, 0, 1)
    alpha = x * x * (3 - 2 * x) * percent / 100
    return tuple(np.round(alpha * value).astype(np.uint8) for value in (255, *colour))


def _mask_region(probability: Array, to_source: Array, width: int, height: int) -> tuple[int, int, int, int] | None:
    """The rectangle of the picture that the mask's probable cells can touch."""
    ys, xs = np.nonzero(probability > 0.2)
    if len(xs) == 0:
        return None
    x = np.array([xs.min() - 1, xs.max() + 2, xs.min() - 1, xs.max() + 2])
    y = np.array([ys.min() - 1, ys.min() - 1, ys.max() + 2, ys.max() + 2])
    corner = to_source[:, :2] @ np.stack([x, y]) + to_source[:, 2:]
    (x0, y0), (x1, y1) = np.floor(corner.min(1)).astype(int), np.ceil(corner.max(1)).astype(int)
    x0, y0, x1, y1 = max(int(x0), 0), max(int(y0), 0), min(int(x1), width), min(int(y1), height)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _inside(shape: tuple[int, ...], matrix: Array, size: tuple[int, ...]) -> Array | None:
    """255 where the mask's grid reaches, None if it reaches everywhere: the model sees nothing beyond it."""
    h, w = shape[:2]
    outline = np.array([[-0.5, -0.5], [w - 0.5, -0.5], [w - 0.5, h - 0.5], [-0.5, h - 0.5]])
    points = np.round(outline @ matrix[:, :2].T + matrix[:, 2]).astype(np.int32)
    covered = cv2.fillConvexPoly(np.zeros(size[:2], np.uint8), points, (255,))
    return None if covered.min() == 255 else covered


def _smooth(contours: list[Array]) -> list[Array]:
    """Contours without their pixel stairs, in eighths of a pixel."""
    smooth = []
    for contour in contours:
        points = contour[:, 0, :].astype(np.float32)
        padded = np.concatenate([points[-3:], points, points[:3]])
        means = cv2.blur(padded, (1, 7))[3:-3]
        smooth.append(np.round(means[::2] * 8).astype(np.int32))
    return smooth


def _pixel_box(image: UInt8Array, box: Box) -> tuple[int, int, int, int]:
    """The first and last pixel of a half-open box, inside the picture."""
    h, w = image.shape[:2]
    x0, y0, x1, y1 = (round(v) if np.isfinite(v) else 0 for v in box)
    return min(max(x0, 0), w - 1), min(max(y0, 0), h - 1), min(max(x1 - 1, 0), w - 1), min(max(y1 - 1, 0), h - 1)
