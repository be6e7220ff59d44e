"""The twelve nouns as drawings: an instance varies proportions, colours and pattern, never what it is.

Local units: the drawing fits into [-1, 1] x [-1, 1]; long things point up (-y) and are held at the lower end.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from henasy_stream.sources._world.canvas import Canvas, Colour, Sprite, circle, rounded, smooth
from henasy_stream.sources._world.vocabulary import NOUNS

REACH_BINS = 32
_LONG = frozenset({"knife", "spoon", "brush", "scissors", "bottle", "pan"})


@dataclass(frozen=True, slots=True)
class Style:
    """What one instance looks like: `p` are six proportions in 0..1, `radius` its half length in world units."""

    noun: int
    main: Colour
    second: Colour
    accent: Colour
    pattern: int
    p: tuple[float, ...]
    radius: float
    seed: int


def colour(
    rng: np.random.Generator, s: tuple[float, float] = (0.15, 0.9), v: tuple[float, float] = (0.3, 0.97)
) -> Colour:
    """A random colour as R, G, B in 0..255."""
    r, g, b = colorsys.hsv_to_rgb(float(rng.random()), float(rng.uniform(*s)), float(rng.uniform(*v)))
    return (255 * r, 255 * g, 255 * b)


def mix(a: Colour, b: Colour, t: float) -> Colour:
    """`a` at t = 0, `b` at t = 1."""
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


def _dark(c: Colour, t: float = 0.45) -> Colour:
    return mix(c, (0, 0, 0), t)


def _pale(c: Colour, t: float = 0.5) -> Colour:
    return mix(c, (255, 255, 255), t)


@lru_cache(maxsize=8192)
def style_of(noun: int, instance: int) -> Style:
    """The looks of an instance: a function of the two numbers alone."""
    rng = np.random.default_rng([7001, noun, instance])
    low, high = (0.36, 0.50) if NOUNS[noun] in _LONG else (0.24, 0.37)
    metal = (lambda v: (v, v, v + 6.0))(float(rng.uniform(120, 225)))
    main = metal if rng.random() < 0.15 else colour(rng)
    return Style(
        noun=noun,
        main=main,
        second=colour(rng),
        accent=metal if rng.random() < 0.5 else colour(rng, v=(0.5, 1.0)),
        pattern=int(rng.integers(6)),
        p=tuple(float(x) for x in rng.random(6)),
        radius=float(rng.uniform(low, high)),
        seed=int(rng.integers(1 << 30)),
    )


def _pattern(c: Canvas, s: Style, where: npt.NDArray[np.uint8]) -> None:
    """Stripes, checks, dots, a gradient or mottling in the second colour on the part `where`; pattern 0 is plain."""
    x, y = c.grid()
    f = 3.0 + 4.0 * s.p[5]
    edge = c.ppu * c.ss / (np.pi * f)
    if s.pattern == 1:
        angle = s.seed % 7 * 0.45
        m = np.clip(np.sin(np.pi * f * (x * np.cos(angle) + y * np.sin(angle))) * edge * 3 + 0.5, 0, 1)
    elif s.pattern == 2:
        m = np.clip(np.sin(np.pi * f * 0.7 * x) * np.sin(np.pi * f * 0.7 * y) * edge * 3 + 0.5, 0, 1)
    elif s.pattern == 3:
        m = np.clip((np.sin(np.pi * f * x) * np.sin(np.pi * f * y) - 0.45) * edge * 3, 0, 1)
    elif s.pattern == 4:
        m = np.clip(0.5 + 0.6 * (x + y), 0, 1)
    elif s.pattern == 5:
        grain = np.random.default_rng(s.seed).random((14, 14), np.float32)
        m = np.clip(cv2.resize(grain, (where.shape[1], where.shape[0]), interpolation=cv2.INTER_CUBIC) * 2 - 0.6, 0, 1)
    else:
        return
    c.tint((m * where).astype(np.uint8), s.second, 0.75)


def _cup(c: Canvas, s: Style) -> None:
    w, low, top = 0.50 + 0.10 * s.p[0], 0.30 + 0.22 * s.p[1], -0.62 - 0.15 * s.p[2]
    side = 1 if s.p[3] < 0.5 else -1
    c.stroke(circle(side * (w * 0.92), 0.0, 0.30, 0.30 + 0.08 * s.p[4]), 0.15, _dark(s.main, 0.15), closed=True)
    body = np.array(
        [(-w, top), (w, top), (low + 0.05, 0.72), (low - 0.05, 0.82), (-low + 0.05, 0.82), (-low - 0.05, 0.72)]
    )
    c.fill(body, s.main)
    _pattern(c, s, c.mask(body * (0.98, 1) + (0, 0.02)))
    c.fill(circle(0, top, w, 0.19), _pale(s.main, 0.35))
    c.fill(circle(0, top + 0.02, w * 0.86, 0.14), mix((70, 40, 20), s.accent, 0.3))


def _knife(c: Canvas, s: Style) -> None:
    w, base = 0.13 + 0.06 * s.p[0], 0.02 + 0.2 * s.p[1]
    blade = [(-w, base), (-w, -0.6 + 0.2 * s.p[2]), (w * 0.4, -0.97), (w * 0.75, -0.9), (w * 0.75, base)]
    steel = s.accent if s.p[3] < 0.6 else (205.0, 210.0, 218.0)
    c.fill(blade, steel)
    c.tint(
        c.mask([(-w, base), (-w, -0.6 + 0.2 * s.p[2]), (w * 0.4, -0.97), (-w * 0.35, -0.55), (-w * 0.35, base)]),
        (250, 250, 255),
        0.6,
    )
    c.fill(rounded(-w, base - 0.05, w * 0.75, base + 0.04, 0.03), _dark(steel))
    grip = rounded(-w * 0.8, base + 0.02, w * 0.75, 0.96, 0.1)
    c.fill(grip, s.main)
    _pattern(c, s, c.mask(grip))
    for k in range(3):
        c.tint(c.mask(circle(0, base + 0.18 + 0.22 * k, 0.035)), (235, 235, 235))


def _pan(c: Canvas, s: Style) -> None:
    r = 0.56 + 0.06 * s.p[0]
    y = -0.98 + r
    c.stroke([(0, y + r), (0, 0.93)], 0.13 + 0.06 * s.p[1], s.second)
    c.fill(rounded(-0.12, y + r - 0.08, 0.12, y + r + 0.1, 0.04), _dark(s.accent))
    c.fill(circle(0, y, r), s.main)
    inner = circle(0, y, r * 0.84)
    c.tint(c.mask(inner), _dark(s.main, 0.5 + 0.2 * s.p[2]))
    c.tint(c.mask(circle(-0.1, y - 0.12, r * 0.45, r * 0.3, -0.7)), (255, 255, 255), 0.16)
    c.tint(c.mask(circle(0, 0.82, 0.035)), (20, 20, 20))


def _plate(c: Canvas, s: Style) -> None:
    r = 0.94
    c.fill(circle(0, 0, r), _pale(s.main, 0.35))
    ring = c.mask(circle(0, 0, r * 0.97))
    _pattern(c, s, ring)
    n = 6 + int(8 * s.p[0])
    for k in range(n):
        a = 2 * np.pi * k / n
        c.tint(c.mask(circle(0.79 * np.cos(a), 0.79 * np.sin(a), 0.05 + 0.04 * s.p[1])), s.second)
    well = 0.58 + 0.1 * s.p[2]
    c.tint(c.mask(circle(0, 0, well + 0.05)), _dark(s.main, 0.35))
    c.tint(c.mask(circle(0, 0, well)), _pale(s.main, 0.6))
    leaf = smooth([(0.05, -0.1), (0.45, -0.42), (0.3, 0.05)])
    c.tint(c.mask(leaf), s.second)
    c.tint(c.mask(circle(0.02, 0.02, 0.13)), s.accent)


def _bottle(c: Canvas, s: Style) -> None:
    w, neck = 0.27 + 0.07 * s.p[0], 0.10 + 0.03 * s.p[1]
    shoulder = -0.32 + 0.2 * s.p[2]
    side = [
        (neck, -0.78),
        (neck, shoulder - 0.14),
        (w * 0.8, shoulder),
        (w, shoulder + 0.16),
        (w, 0.88),
        (w * 0.85, 0.96),
    ]
    body = [(-x, y) for x, y in side] + side[::-1]
    c.fill(body, s.main)
    c.tint(c.mask(rounded(-w * 0.75, shoulder + 0.1, -w * 0.5, 0.85, 0.06)), (255, 255, 255), 0.35)
    band = rounded(-w, shoulder + 0.3, w, shoulder + 0.85, 0.0)
    c.tint(c.mask(band), _pale(s.accent, 0.6))
    _pattern(c, s, c.mask(rounded(-w, shoulder + 0.36, w, shoulder + 0.79, 0.0)))
    c.fill(rounded(-neck - 0.03, -0.97, neck + 0.03, -0.76, 0.04), s.second)


def _spoon(c: Canvas, s: Style) -> None:
    rx, ry = 0.21 + 0.07 * s.p[0], 0.30 + 0.05 * s.p[1]
    y = -0.97 + ry
    thin = 0.035 + 0.02 * s.p[2]
    c.fill([(-thin, y), (thin, y), (thin * 1.9, 0.88), (0, 0.97), (-thin * 1.9, 0.88)], s.main)
    c.fill(circle(0, y, rx, ry), s.main)
    c.tint(c.mask(circle(0, y - 0.01, rx * 0.78, ry * 0.8)), _dark(s.main, 0.35))
    c.tint(c.mask(circle(-0.04, y - 0.08, rx * 0.3, ry * 0.35)), (255, 255, 255), 0.5)
    _pattern(c, s, c.mask(rounded(-0.12, 0.3, 0.12, 0.96, 0.03)))


def _book(c: Canvas, s: Style) -> None:
    h = 0.62 + 0.14 * s.p[0]
    cover = rounded(-0.97, -h, 0.97, h, 0.05)
    c.fill(cover, s.main)
    _pattern(c, s, c.mask(cover))
    paper = mix((250, 246, 232), s.accent, 0.12)
    for side in (-1, 1):
        page = [
            (0, -h + 0.10),
            (side * 0.4, -h + 0.04),
            (side * 0.88, -h + 0.09),
            (side * 0.88, h - 0.07),
            (side * 0.4, h - 0.11),
            (0, h - 0.05),
        ]
        c.fill(page, paper)
        rows = 5 + int(3 * s.p[1])
        for k in range(rows):
            y = -h + 0.24 + (2 * h - 0.5) * k / (rows - 1)
            if side * (s.p[2] - 0.5) > 0.2 and k < rows // 2:
                continue
            c.tint(
                c.mask(
                    rounded(min(side * 0.14, side * 0.76), y - 0.025, max(side * 0.14, side * 0.76), y + 0.025, 0.01)
                ),
                (60, 60, 70),
                0.75,
            )
        if side * (s.p[2] - 0.5) > 0.2:
            c.tint(
                c.mask(rounded(min(side * 0.16, side * 0.74), -h + 0.2, max(side * 0.16, side * 0.74), -0.05, 0.02)),
                s.second,
            )
    c.tint(c.mask([(-0.05, -h + 0.08), (0.05, -h + 0.08), (0.05, h - 0.05), (-0.05, h - 0.05)]), (90, 80, 70), 0.6)


def _phone(c: Canvas, s: Style) -> None:
    w = 0.43 + 0.06 * s.p[0]
    c.fill(rounded(-w, -0.94, w, 0.94, 0.16), s.main)
    screen = rounded(-w + 0.07, -0.82 + 0.06 * s.p[1], w - 0.07, 0.80, 0.06)
    c.tint(c.mask(screen), _dark(s.second, 0.45))
    x, y = c.grid()
    glow = np.clip(0.5 - 0.5 * y + 0.2 * x, 0, 1) * c.mask(screen)
    c.tint(glow.astype(np.uint8), _pale(s.second, 0.25), 0.7)
    rng = np.random.default_rng(s.seed)
    for row in range(3 + int(2 * s.p[2])):
        for column in range(3):
            cx, cy = (column - 1) * (w - 0.12) * 0.68, -0.5 + 0.25 * row
            c.tint(
                c.mask(rounded(cx - 0.075, cy - 0.075, cx + 0.075, cy + 0.075, 0.03)),
                colour(rng, (0.4, 0.95), (0.7, 1.0)),
            )
    c.tint(c.mask(rounded(-0.13, 0.70, 0.13, 0.73, 0.02)), (240, 240, 240), 0.8)
    c.tint(c.mask(circle(0, -0.87, 0.035)), (15, 15, 20))


def _apple(c: Canvas, s: Style) -> None:
    a = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    dip = (
        1
        - (0.20 + 0.1 * s.p[0]) * np.exp(-(((a - 1.5 * np.pi) / 0.35) ** 2))
        - 0.08 * np.exp(-(((a - 0.5 * np.pi) / 0.3) ** 2))
    )
    fat = 0.80 + 0.08 * s.p[1]
    body = np.stack([fat * dip * np.cos(a), 0.17 + 0.78 * dip * np.sin(a) * (1 + 0.05 * np.cos(2 * a))], 1)
    c.stroke([(0.0, -0.38), (0.06, -0.62), (0.14, -0.86)], 0.09, (86, 58, 34))
    c.fill(body, s.main)
    x, y = c.grid()
    blush = np.exp(-((x - 0.35) ** 2 + (y - 0.3) ** 2) / 0.25) * 255
    c.tint(blush.astype(np.uint8), s.second, 0.6 * s.p[2])
    c.tint(c.mask(circle(-0.36, -0.12, 0.13, 0.22, 0.5)), (255, 255, 255), 0.5)
    c.fill(
        smooth([(0.1, -0.62), (0.35, -0.95), (0.75, -0.85), (0.5, -0.55)]), mix((70, 150, 50), s.accent, 0.4 * s.p[3])
    )


def _box(c: Canvas, s: Style) -> None:
    w, d = 0.86 + 0.08 * s.p[0], 0.36 + 0.12 * s.p[1]
    top, low = -0.92 + 2 * d, 0.92 - d
    middle = (0.0, top)
    left, right, back = (-w, top - d), (w, top - d), (0.0, top - 2 * d)
    c.fill([left, middle, (0.0, 0.92), (-w, low)], s.main)
    _pattern(c, s, c.mask([left, middle, (0.0, 0.92), (-w, low)]))
    c.fill([middle, right, (w, low), (0.0, 0.92)], _dark(s.main, 0.4))
    c.fill([left, back, right, middle], _pale(s.main, 0.4))
    strip = [
        (-w * 0.58, top - d * 0.58),
        (-w * 0.42, top - d * 0.42),
        (w * 0.58, top - d * 1.42),
        (w * 0.42, top - d * 1.58),
    ]
    c.tint(c.mask(strip), s.accent, 0.9)
    c.tint(
        c.mask(
            [
                (w * 0.25, top + 0.22),
                (w * 0.7, top + 0.22 - d * 0.45),
                (w * 0.7, top + 0.5 - d * 0.45),
                (w * 0.25, top + 0.5),
            ]
        ),
        s.second,
    )


def _scissors(c: Canvas, s: Style) -> None:
    steel = s.accent if s.p[0] < 0.6 else (200.0, 205.0, 212.0)
    spread = 0.16 + 0.14 * s.p[1]
    for side in (-1, 1):
        tip = (side * spread, -0.96)
        c.fill(
            [(-side * 0.10, 0.12), (side * 0.07, 0.10), (tip[0] + side * 0.02, tip[1]), (tip[0] - side * 0.12, -0.45)],
            steel if side > 0 else _dark(steel, 0.2),
        )
    for side in (-1, 1):
        c.stroke([(side * 0.04, 0.05), (side * 0.2, 0.36)], 0.13, s.main)
        c.stroke(
            circle(side * 0.33, 0.62, 0.21 + 0.03 * s.p[2], 0.29, -side * 0.35),
            0.12,
            s.main if s.p[3] < 0.7 else _dark(s.main, 0.25),
            closed=True,
        )
    c.fill(circle(0, 0.0, 0.07), _dark(steel, 0.5))


def _brush(c: Canvas, s: Style) -> None:
    w, h = 0.26 + 0.1 * s.p[0], 0.18 + 0.06 * s.p[1]
    hair = mix((225, 200, 150), s.second, 0.5)
    c.fill(
        [(-w, -0.40), (w, -0.40), (w * (1.02 + 0.2 * s.p[2]), -0.92), (0, -0.97), (-w * (1.02 + 0.2 * s.p[2]), -0.92)],
        hair,
    )
    for k in range(7):
        x = w * (-0.9 + 0.3 * k)
        c.tint(c.mask(rounded(x - 0.02, -0.94, x + 0.02, -0.4, 0.01)), _dark(hair, 0.5), 0.7)
    c.fill(rounded(-w * 1.08, -0.46, w * 1.08, -0.46 + h, 0.04), s.accent)
    handle = smooth(
        [
            (-w * 0.9, -0.46 + h),
            (w * 0.9, -0.46 + h),
            (0.09, 0.15),
            (0.13, 0.9),
            (0.0, 0.99),
            (-0.13, 0.9),
            (-0.09, 0.15),
        ],
        2,
    )
    c.fill(handle, s.main)
    _pattern(c, s, c.mask(handle))
    c.tint(c.mask(circle(0, 0.84, 0.05)), (25, 25, 25))


_DRAW: tuple[Callable[[Canvas, Style], None], ...] = (
    _cup, _knife, _pan, _plate, _bottle, _spoon, _book, _phone, _apple, _box, _scissors, _brush,
)  # fmt: skip


def draw(noun: int, instance: int, pixels: int) -> Sprite:
    """The sprite of an instance, about `pixels` wide."""
    style = style_of(noun, instance)
    canvas = Canvas(2.08, 2.08, (1.04, 1.04), pixels / 2.08)
    _DRAW[noun](canvas, style)
    flat = NOUNS[noun] in ("plate", "book", "phone", "box", "pan")
    return canvas.finish(relief=0.5 if flat else 1.1, blur=0.035 / style.radius)


@lru_cache(maxsize=8192)
def reach_of(noun: int, instance: int) -> tuple[float, ...]:
    """How far the silhouette reaches from the centre in `REACH_BINS` directions (+x towards +y), in units."""
    sprite = draw(noun, instance, 48)
    ys, xs = np.nonzero(sprite.alpha > 127)
    x, y = (xs + 0.5 - sprite.origin[0]) / sprite.ppu, (ys + 0.5 - sprite.origin[1]) / sprite.ppu
    bins = np.round(np.arctan2(y, x) / (2 * np.pi) * REACH_BINS).astype(int) % REACH_BINS
    out = np.full(REACH_BINS, 0.08)
    np.maximum.at(out, bins, np.hypot(x, y))
    return tuple(float(v) for v in out * style_of(noun, instance).radius)
