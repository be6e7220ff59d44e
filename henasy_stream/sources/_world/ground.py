"""What the table is made of: textures that repeat every `PERIOD` units, the same at every resolution."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from henasy_stream.sources._world.canvas import Colour, UInt8, circle, rounded, smooth
from henasy_stream.sources._world.style import colour, mix

PERIOD = 4.0
FAMILIES = ("wood", "tiles", "cloth", "stone", "stripes", "terrazzo", "laminate")
Field = npt.NDArray[np.float32]


def _noise(rng: np.random.Generator, n: int, rows: int, columns: int) -> Field:
    """Smooth periodic noise in about 0..1 with `rows` x `columns` cells over the period, (n, n)."""
    cells = np.pad(rng.random((rows, columns), np.float32), 2, mode="wrap")
    ys = (np.arange(n, dtype=np.float32) + 0.5) * (rows / n) + 1.5
    xs = (np.arange(n, dtype=np.float32) + 0.5) * (columns / n) + 1.5
    map_x, map_y = np.broadcast_to(xs[None], (n, n)), np.broadcast_to(ys[:, None], (n, n))
    field = cv2.remap(cells, np.ascontiguousarray(map_x), np.ascontiguousarray(map_y), cv2.INTER_CUBIC)
    return np.asarray(field, np.float32)


def _fractal(rng: np.random.Generator, n: int, cells: int, octaves: int = 4) -> Field:
    total = np.zeros((n, n), np.float32)
    for k in range(octaves):
        layer = _noise(rng, n, cells << k, cells << k)
        total += (layer - 0.5) * np.float32(0.6**k)
    return total + 0.5


def _blend(a: Colour, b: Colour, t: npt.NDArray[np.floating]) -> Field:
    low, high = np.asarray(a, np.float32), np.asarray(b, np.float32)
    return low + (high - low) * np.clip(t, 0, 1).astype(np.float32)[..., None]


def _bands(rng: np.random.Generator, n: int, count: int) -> tuple[npt.NDArray[np.int64], Field]:
    """Index of the band of every pixel row, and its distance from the nearest seam in units of the period."""
    cuts = np.sort((np.arange(count) + rng.uniform(-0.18, 0.18, count)) / count % 1)
    x = (np.arange(n) + 0.5) / n
    index = np.searchsorted(cuts, x) % count
    gap = np.abs(x[:, None] - cuts[None])
    return index, np.minimum(gap, 1 - gap).min(1).astype(np.float32)


def _wood(rng: np.random.Generator, n: int, a: Colour, b: Colour) -> Field:
    index, seam = _bands(rng, n, int(rng.integers(5, 10)))
    tone = rng.uniform(-0.3, 0.3, index.max() + 1).astype(np.float32)[index][:, None]
    grain = _noise(rng, n, 96, 6) * 0.6 + _noise(rng, n, 40, 3) * 0.5
    field = _blend(a, b, 0.45 * grain + 0.25 + tone * 0.5)
    return field * (1 - 0.55 * np.clip(1 - seam / 0.0035, 0, 1))[:, None, None]


def _tiles(rng: np.random.Generator, n: int, a: Colour, b: Colour) -> Field:
    count = int(rng.integers(4, 9))
    x = (np.arange(n, dtype=np.float32) + 0.5) / n * count
    cell = (x.astype(int)[:, None] * 31 + x.astype(int)[None] * 17) % 97
    tone = rng.random(97, np.float32)[cell] * float(rng.uniform(0.1, 0.8))
    if rng.random() < 0.4 and count % 2 == 0:
        tone = ((x.astype(int)[:, None] + x.astype(int)[None]) % 2).astype(np.float32) * 0.9
    near = np.minimum(x % 1, 1 - x % 1)
    grout = np.clip(1 - np.minimum(near[:, None], near[None]) / 0.03, 0, 1)
    field = _blend(a, b, tone + 0.12 * (_fractal(rng, n, 8) - 0.5))
    return _blend_field(field, np.asarray(mix(a, (200, 200, 200), 0.6), np.float32), grout)


def _blend_field(a: Field, b: Field, t: npt.NDArray[np.floating]) -> Field:
    m = t.astype(np.float32)[..., None]
    return a * (1 - m) + b * m


def _cloth(rng: np.random.Generator, n: int, a: Colour, b: Colour) -> Field:
    count = int(rng.integers(4, 11))
    x = (np.arange(n, dtype=np.float32) + 0.5) / n
    edge = n / (np.pi * count)
    wave = np.clip(np.sin(2 * np.pi * count * x) * edge + 0.5, 0, 1)
    check = 0.5 * (wave[:, None] + wave[None])
    weave = 0.06 * np.sin(2 * np.pi * 60 * x)[:, None] * np.sin(2 * np.pi * 60 * x)[None]
    return _blend(a, b, check * float(rng.uniform(0.5, 1)) + weave + 0.1 * (_fractal(rng, n, 6) - 0.5))


def _stone(rng: np.random.Generator, n: int, a: Colour, b: Colour) -> Field:
    base = _fractal(rng, n, int(rng.integers(3, 9)), 5)
    veins = np.clip(1 - np.abs(_fractal(rng, n, 3, 4) - 0.5) * 14, 0, 1) * float(rng.uniform(0, 0.6))
    return _blend_field(
        _blend(a, b, (base - 0.5) * 1.3 + 0.5), np.asarray(mix(b, (255, 255, 255), 0.6), np.float32), veins
    )


def _stripes(rng: np.random.Generator, n: int, a: Colour, b: Colour) -> Field:
    index, seam = _bands(rng, n, int(rng.integers(6, 15)))
    tone = rng.random(index.max() + 1).astype(np.float32)[index][:, None] + 0.15 * (_fractal(rng, n, 10) - 0.5)
    return _blend(a, b, tone) * (1 - 0.2 * np.clip(1 - seam / 0.003, 0, 1))[:, None, None]


def _terrazzo(rng: np.random.Generator, n: int, a: Colour, b: Colour) -> Field:
    field = _blend(a, mix(a, b, 0.3), _fractal(rng, n, 6)).astype(np.uint8)
    chips = [mix(b, colour(rng), 0.3 * float(rng.random())) for _ in range(4)]
    for k in range(150):
        around = smooth(rng.uniform(-1, 1, (6, 2)) * float(rng.uniform(0.02, 0.07)), 1)
        _stamp(field, around, rng.random(2) * PERIOD, chips[k % 4])
    return field.astype(np.float32)


def _laminate(rng: np.random.Generator, n: int, a: Colour, b: Colour) -> Field:
    return _blend(a, mix(a, b, 0.35), _noise(rng, n, 6, 64) * 0.5 + _fractal(rng, n, 4) * 0.7 - 0.1)


def _stamp(picture: UInt8, points: npt.NDArray[np.float64], at: npt.NDArray[np.float64], c: Colour) -> None:
    """Draws a polygon given in units on the periodic picture."""
    n = picture.shape[0]
    k = n / PERIOD
    extent = float(np.abs(points).max())
    for dx in (-PERIOD, 0.0, PERIOD):
        for dy in (-PERIOD, 0.0, PERIOD):
            x, y = at[0] + dx, at[1] + dy
            if -extent < x < PERIOD + extent and -extent < y < PERIOD + extent:
                fixed = np.round(((points + np.array((x, y))) * k - 0.5) * 16).astype(np.int32)
                cv2.fillPoly(picture, [fixed], c, cv2.LINE_AA, 4)


def _clutter(rng: np.random.Generator, picture: UInt8) -> None:
    """Papers, coins, crumbs and stains that are no objects; each over a little shadow of its own."""
    for _ in range(int(rng.integers(0, 14))):
        at, kind, c = rng.random(2) * PERIOD, int(rng.integers(4)), colour(rng, (0.05, 0.6), (0.25, 0.95))
        size = float(rng.uniform(0.04, 0.16))
        if kind == 0:
            points = circle(0, 0, size * 0.6, size * float(rng.uniform(0.35, 0.6)), float(rng.uniform(0, 3)))
        elif kind == 1:
            points = rounded(-size, -size * 0.7, size, size * 0.7, 0.01)
        elif kind == 2:
            points = smooth(rng.uniform(-1, 1, (7, 2)) * size, 2)
        else:
            points = rounded(-size * 1.6, -0.015, size * 1.6, 0.015, 0.015)
        angle = float(rng.uniform(0, 6.3))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        n = picture.shape[0]
        middle = picture[int(at[1] / PERIOD * n) % n, int(at[0] / PERIOD * n) % n]
        under = (float(middle[0]) * 0.6, float(middle[1]) * 0.6, float(middle[2]) * 0.6)
        _stamp(picture, points @ turn, at + np.array((0.012, 0.018)), under)
        _stamp(picture, points @ turn, at, c)


_MAKE = (_wood, _tiles, _cloth, _stone, _stripes, _terrazzo, _laminate)


def draw_ground(number: int, n: int) -> UInt8:
    """Texture `number` as (n, n, 3) RGB, periodic in both directions."""
    fine = 2 * n if n <= 256 else n  # OpenCV's polygons are half a pixel too fat, which would show in small textures
    rng = np.random.default_rng([7003, number])
    kind = int(rng.integers(len(FAMILIES)))
    a = colour(rng, (0.05, 0.55), (0.25, 0.95))
    b = mix(colour(rng, (0.05, 0.6), (0.2, 0.95)), a, float(rng.uniform(0.0, 0.6)))
    if FAMILIES[kind] == "wood":
        a, b = mix((120, 78, 46), a, 0.35 * float(rng.random())), mix((205, 160, 110), b, 0.35 * float(rng.random()))
    picture = np.clip(_MAKE[kind](rng, fine, a, b), 0, 255).astype(np.uint8)
    _clutter(rng, picture)
    if fine > n:
        picture = np.asarray(cv2.resize(picture, (n, n), interpolation=cv2.INTER_AREA), np.uint8)
    return picture
