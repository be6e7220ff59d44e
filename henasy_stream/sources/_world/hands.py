"""Hands with sleeves.  In local units the grip centre is the origin, fingers point up, the arm runs down."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from henasy_stream.sources._world.canvas import Canvas, Colour, Sprite, circle, rounded, smooth
from henasy_stream.sources._world.style import colour, mix

POSES = ("open", "grip", "flat", "point", "fist")
ARM = 3.6
SCALE = 0.80  # world units per local unit
WIDTH = 0.95
TOP = 0.42
_SKIN: tuple[Colour, ...] = (
    (255, 224, 196),
    (241, 194, 160),
    (224, 172, 125),
    (198, 134, 90),
    (141, 85, 54),
    (92, 56, 38),
)


@dataclass(frozen=True, slots=True)
class HandStyle:
    """Skin or glove, sleeve, and proportions of one wearer."""

    skin: Colour
    sleeve: Colour
    cuff: Colour
    stripes: bool
    bare: float
    thick: float


@lru_cache(maxsize=2048)
def hand_style(wearer: int) -> HandStyle:
    """The looks of a wearer: a function of the number alone."""
    rng = np.random.default_rng([7002, wearer])
    k = float(rng.uniform(0, len(_SKIN) - 1.001))
    skin = mix(_SKIN[int(k)], _SKIN[int(k) + 1], k % 1)
    if rng.random() < 0.15:
        skin = colour(rng, (0.2, 0.9), (0.35, 0.95))
    return HandStyle(
        skin=skin,
        sleeve=colour(rng, (0.05, 0.8), (0.15, 0.9)),
        cuff=colour(rng, (0.05, 0.8), (0.15, 0.9)),
        stripes=bool(rng.random() < 0.35),
        bare=float(rng.uniform(0.05, 0.55)),
        thick=float(rng.uniform(0.9, 1.12)),
    )


def _finger(c: Canvas, s: HandStyle, points: list[tuple[float, float]], width: float) -> None:
    """One finger: a dark line first, so that neighbours stay apart, then the finger and its nail."""
    c.stroke(points, width + 0.018, mix(s.skin, (40, 15, 10), 0.45))
    c.stroke(points, width, s.skin)
    (x, y), (px, py) = points[-1], points[-2]
    n = max(1e-6, float(np.hypot(x - px, y - py)))
    c.tint(
        c.mask(circle(x + 0.012 * (x - px) / n, y + 0.012 * (y - py) / n, width * 0.3)),
        mix(s.skin, (255, 235, 225), 0.55),
        0.8,
    )


def _arm(c: Canvas, s: HandStyle) -> None:
    t = s.thick
    wrist, cuff = 0.56, 0.62 + s.bare
    c.fill(
        [
            (-0.105 * t, 0.44),
            (0.105 * t, 0.44),
            (0.12 * t, wrist),
            (0.19 * t, ARM),
            (-0.19 * t, ARM),
            (-0.12 * t, wrist),
        ],
        s.skin,
    )
    sleeve = [(-0.165 * t, cuff), (0.165 * t, cuff), (0.30 * t, ARM), (-0.30 * t, ARM)]
    c.fill(sleeve, s.sleeve)
    if s.stripes:
        for k in range(12):
            y = cuff + 0.18 + 0.22 * k
            c.tint(c.mask(rounded(-0.4, y, 0.4, y + 0.09, 0.0)), s.cuff, 0.8)
    c.fill(rounded(-0.175 * t, cuff - 0.03, 0.175 * t, cuff + 0.09, 0.03), s.cuff)


def _dorsum(c: Canvas, s: HandStyle) -> None:
    t = s.thick
    c.fill(
        smooth(
            [
                (-0.17 * t, 0.14),
                (0.17 * t, 0.14),
                (0.18 * t, 0.30),
                (0.11 * t, 0.52),
                (-0.11 * t, 0.52),
                (-0.19 * t, 0.32),
            ],
            2,
        ),
        s.skin,
    )


_ROOTS = (-0.128, -0.044, 0.042, 0.122)


def _fingers(c: Canvas, s: HandStyle, pose: str) -> None:
    """Four fingers from the knuckles; the thumb is on the left (a right hand seen from its back)."""
    w = 0.088 * s.thick
    tips: dict[str, tuple[tuple[float, float], ...]] = {
        "open": ((-0.24, -0.12), (-0.09, -0.21), (0.07, -0.20), (0.21, -0.09)),
        "flat": ((-0.135, -0.17), (-0.045, -0.24), (0.045, -0.22), (0.130, -0.13)),
        "grip": ((-0.165, -0.055), (-0.055, -0.095), (0.055, -0.085), (0.155, -0.03)),
        "point": ((-0.06, -0.27), (-0.045, 0.07), (0.045, 0.07), (0.125, 0.10)),
        "fist": ((-0.125, 0.06), (-0.044, 0.04), (0.044, 0.04), (0.122, 0.07)),
    }
    for x, (tx, ty) in zip(_ROOTS, tips[pose], strict=True):
        x *= s.thick
        middle = (0.5 * (x + tx) * 1.06, 0.5 * (0.17 + ty))
        _finger(c, s, [(x, 0.18), middle, (tx * s.thick, ty)], w)


def _thumb(c: Canvas, s: HandStyle, pose: str) -> None:
    tip = {
        "open": (-0.33, 0.10),
        "flat": (-0.27, 0.08),
        "grip": (-0.25, 0.035),
        "point": (-0.09, 0.19),
        "fist": (-0.09, 0.17),
    }[pose]
    knee = (-0.22 * s.thick, 0.24) if tip[0] < -0.2 else (-0.19 * s.thick, 0.25)
    _finger(c, s, [(-0.13 * s.thick, 0.36), knee, tip], 0.10 * s.thick)


def draw_hand(wearer: int, pose: str, left: bool, ppu: float) -> Sprite:
    """A hand with its arm, from the back."""
    style = hand_style(wearer)
    canvas = Canvas(WIDTH, ARM + TOP, (WIDTH / 2, TOP), ppu)
    _arm(canvas, style)
    _dorsum(canvas, style)
    _fingers(canvas, style, pose)
    _thumb(canvas, style, pose)
    return _mirrored(canvas.finish(relief=0.8, outline=0.3, blur=0.05), left)


def _mirrored(s: Sprite, left: bool) -> Sprite:
    if not left:
        return s
    flip = np.ascontiguousarray
    return Sprite(
        flip(s.rgba[:, ::-1]),
        flip(s.alpha[:, ::-1]),
        flip(s.shadow[:, ::-1]),
        (s.rgba.shape[1] - s.origin[0], s.origin[1]),
        s.ppu,
        s.pad,
    )
