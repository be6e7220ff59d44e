"""Drawings of what lies on a desk, within [-1, 1] x [-1, 1].

Long things point up (-y) and are held at the lower end.
"""

from __future__ import annotations

import numpy as np

from henasy_stream.sources._world.canvas import Canvas, circle, rounded, smooth
from henasy_stream.sources._world.style import Style, colour, dark, mix, pale, pattern


def book(c: Canvas, s: Style) -> None:
    """An open book: two pages with lines and perhaps a picture."""
    h = 0.62 + 0.14 * s.p[0]
    cover = rounded(-0.97, -h, 0.97, h, 0.05)
    c.fill(cover, s.main)
    pattern(c, s, c.mask(cover))
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


def phone(c: Canvas, s: Style) -> None:
    """A phone with icons on its screen."""
    w = 0.43 + 0.06 * s.p[0]
    c.fill(rounded(-w, -0.94, w, 0.94, 0.16), s.main)
    screen = rounded(-w + 0.07, -0.82 + 0.06 * s.p[1], w - 0.07, 0.80, 0.06)
    c.tint(c.mask(screen), dark(s.second, 0.45))
    x, y = c.grid()
    glow = np.clip(0.5 - 0.5 * y + 0.2 * x, 0, 1) * c.mask(screen)
    c.tint(glow.astype(np.uint8), pale(s.second, 0.25), 0.7)
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


def apple(c: Canvas, s: Style) -> None:
    """An apple with stem and leaf."""
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


def box(c: Canvas, s: Style) -> None:
    """A cardboard box seen over its corner."""
    w, d = 0.86 + 0.08 * s.p[0], 0.36 + 0.12 * s.p[1]
    top, low = -0.92 + 2 * d, 0.92 - d
    middle = (0.0, top)
    left, right, back = (-w, top - d), (w, top - d), (0.0, top - 2 * d)
    c.fill([left, middle, (0.0, 0.92), (-w, low)], s.main)
    pattern(c, s, c.mask([left, middle, (0.0, 0.92), (-w, low)]))
    c.fill([middle, right, (w, low), (0.0, 0.92)], dark(s.main, 0.4))
    c.fill([left, back, right, middle], pale(s.main, 0.4))
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


def scissors(c: Canvas, s: Style) -> None:
    """Open scissors with two rings."""
    steel = s.accent if s.p[0] < 0.6 else (200.0, 205.0, 212.0)
    spread = 0.16 + 0.14 * s.p[1]
    for side in (-1, 1):
        tip = (side * spread, -0.96)
        c.fill(
            [(-side * 0.10, 0.12), (side * 0.07, 0.10), (tip[0] + side * 0.02, tip[1]), (tip[0] - side * 0.12, -0.45)],
            steel if side > 0 else dark(steel, 0.2),
        )
    for side in (-1, 1):
        c.stroke([(side * 0.04, 0.05), (side * 0.2, 0.36)], 0.13, s.main)
        c.stroke(
            circle(side * 0.33, 0.62, 0.21 + 0.03 * s.p[2], 0.29, -side * 0.35),
            0.12,
            s.main if s.p[3] < 0.7 else dark(s.main, 0.25),
            closed=True,
        )
    c.fill(circle(0, 0.0, 0.07), dark(steel, 0.5))


def brush(c: Canvas, s: Style) -> None:
    """A flat brush: bristles, ferrule, handle."""
    w, h = 0.26 + 0.1 * s.p[0], 0.18 + 0.06 * s.p[1]
    hair = mix((225, 200, 150), s.second, 0.5)
    c.fill(
        [(-w, -0.40), (w, -0.40), (w * (1.02 + 0.2 * s.p[2]), -0.92), (0, -0.97), (-w * (1.02 + 0.2 * s.p[2]), -0.92)],
        hair,
    )
    for k in range(7):
        x = w * (-0.9 + 0.3 * k)
        c.tint(c.mask(rounded(x - 0.02, -0.94, x + 0.02, -0.4, 0.01)), dark(hair, 0.5), 0.7)
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
    pattern(c, s, c.mask(handle))
    c.tint(c.mask(circle(0, 0.84, 0.05)), (25, 25, 25))
