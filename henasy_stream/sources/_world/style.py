"""How instances differ: colours, pattern, proportions and size; none of them tells the noun."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from henasy_stream.sources._world.canvas import Canvas, Colour
from henasy_stream.sources._world.vocabulary import NOUNS

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


def dark(c: Colour, t: float = 0.45) -> Colour:
    return mix(c, (0, 0, 0), t)


def pale(c: Colour, t: float = 0.5) -> Colour:
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


def pattern(c: Canvas, s: Style, where: npt.NDArray[np.uint8]) -> None:
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
