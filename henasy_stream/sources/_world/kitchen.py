"""Drawings of what stands on a kitchen table, within [-1, 1] x [-1, 1].

Long things point up (-y) and are held at the lower end.
"""

from __future__ import annotations

import numpy as np

from henasy_stream.sources._world.canvas import Canvas, circle, rounded, smooth
from henasy_stream.sources._world.style import Style, dark, mix, pale, pattern


def cup(c: Canvas, s: Style) -> None:
    """A mug from the side with its handle left or right."""
    w, low, top = 0.50 + 0.10 * s.p[0], 0.30 + 0.22 * s.p[1], -0.62 - 0.15 * s.p[2]
    side = 1 if s.p[3] < 0.5 else -1
    c.stroke(circle(side * (w * 0.92), 0.0, 0.30, 0.30 + 0.08 * s.p[4]), 0.15, dark(s.main, 0.15), closed=True)
    body = np.array(
        [(-w, top), (w, top), (low + 0.05, 0.72), (low - 0.05, 0.82), (-low + 0.05, 0.82), (-low - 0.05, 0.72)]
    )
    c.fill(body, s.main)
    pattern(c, s, c.mask(body * (0.98, 1) + (0, 0.02)))
    c.fill(circle(0, top, w, 0.19), pale(s.main, 0.35))
    c.fill(circle(0, top + 0.02, w * 0.86, 0.14), mix((70, 40, 20), s.accent, 0.3))


def knife(c: Canvas, s: Style) -> None:
    """A blade over a handle with rivets."""
    w, base = 0.13 + 0.06 * s.p[0], 0.02 + 0.2 * s.p[1]
    blade = [(-w, base), (-w, -0.6 + 0.2 * s.p[2]), (w * 0.4, -0.97), (w * 0.75, -0.9), (w * 0.75, base)]
    steel = s.accent if s.p[3] < 0.6 else (205.0, 210.0, 218.0)
    c.fill(blade, steel)
    c.tint(
        c.mask([(-w, base), (-w, -0.6 + 0.2 * s.p[2]), (w * 0.4, -0.97), (-w * 0.35, -0.55), (-w * 0.35, base)]),
        (250, 250, 255),
        0.6,
    )
    c.fill(rounded(-w, base - 0.05, w * 0.75, base + 0.04, 0.03), dark(steel))
    grip = rounded(-w * 0.8, base + 0.02, w * 0.75, 0.96, 0.1)
    c.fill(grip, s.main)
    pattern(c, s, c.mask(grip))
    for k in range(3):
        c.tint(c.mask(circle(0, base + 0.18 + 0.22 * k, 0.035)), (235, 235, 235))


def pan(c: Canvas, s: Style) -> None:
    """A round pan with a straight handle."""
    r = 0.56 + 0.06 * s.p[0]
    y = -0.98 + r
    c.stroke([(0, y + r), (0, 0.93)], 0.13 + 0.06 * s.p[1], s.second)
    c.fill(rounded(-0.12, y + r - 0.08, 0.12, y + r + 0.1, 0.04), dark(s.accent))
    c.fill(circle(0, y, r), s.main)
    inner = circle(0, y, r * 0.84)
    c.tint(c.mask(inner), dark(s.main, 0.5 + 0.2 * s.p[2]))
    c.tint(c.mask(circle(-0.1, y - 0.12, r * 0.45, r * 0.3, -0.7)), (255, 255, 255), 0.16)
    c.tint(c.mask(circle(0, 0.82, 0.035)), (20, 20, 20))


def plate(c: Canvas, s: Style) -> None:
    """A plate from above with a motif off its middle."""
    r = 0.94
    c.fill(circle(0, 0, r), pale(s.main, 0.35))
    ring = c.mask(circle(0, 0, r * 0.97))
    pattern(c, s, ring)
    n = 6 + int(8 * s.p[0])
    for k in range(n):
        a = 2 * np.pi * k / n
        c.tint(c.mask(circle(0.79 * np.cos(a), 0.79 * np.sin(a), 0.05 + 0.04 * s.p[1])), s.second)
    well = 0.58 + 0.1 * s.p[2]
    c.tint(c.mask(circle(0, 0, well + 0.05)), dark(s.main, 0.35))
    c.tint(c.mask(circle(0, 0, well)), pale(s.main, 0.6))
    leaf = smooth([(0.05, -0.1), (0.45, -0.42), (0.3, 0.05)])
    c.tint(c.mask(leaf), s.second)
    c.tint(c.mask(circle(0.02, 0.02, 0.13)), s.accent)


def bottle(c: Canvas, s: Style) -> None:
    """A bottle with a neck, a cap and a label."""
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
    c.tint(c.mask(band), pale(s.accent, 0.6))
    pattern(c, s, c.mask(rounded(-w, shoulder + 0.36, w, shoulder + 0.79, 0.0)))
    c.fill(rounded(-neck - 0.03, -0.97, neck + 0.03, -0.76, 0.04), s.second)


def spoon(c: Canvas, s: Style) -> None:
    """An oval bowl on a thin handle."""
    rx, ry = 0.21 + 0.07 * s.p[0], 0.30 + 0.05 * s.p[1]
    y = -0.97 + ry
    thin = 0.035 + 0.02 * s.p[2]
    c.fill([(-thin, y), (thin, y), (thin * 1.9, 0.88), (0, 0.97), (-thin * 1.9, 0.88)], s.main)
    c.fill(circle(0, y, rx, ry), s.main)
    c.tint(c.mask(circle(0, y - 0.01, rx * 0.78, ry * 0.8)), dark(s.main, 0.35))
    c.tint(c.mask(circle(-0.04, y - 0.08, rx * 0.3, ry * 0.35)), (255, 255, 255), 0.5)
    pattern(c, s, c.mask(rounded(-0.12, 0.3, 0.12, 0.96, 0.03)))
