"""One colour per track id, for ever: hues a golden angle apart in OKLCH, bright enough for dark text, unlike skin."""

from __future__ import annotations

import math
from functools import lru_cache

Colour = tuple[int, int, int]
"""RGB, 0..255."""

_GOLDEN = 0.6180339887498949
_SKIN_DEGREES = (12.0, 95.0)  # hues of skin and wood; hands are in every picture
_LIGHTNESS = (0.74, 0.82, 0.66)
_CHROMA = 0.17


@lru_cache(maxsize=4096)
def colour_of(track_id: int) -> Colour:
    """The colour of a track; neighbouring ids differ in hue by at least 100 degrees."""
    start, width = _SKIN_DEGREES[1], 360.0 - (_SKIN_DEGREES[1] - _SKIN_DEGREES[0])
    hue = start + width * (track_id * _GOLDEN % 1.0)
    return oklch_to_rgb(_LIGHTNESS[track_id % len(_LIGHTNESS)], _CHROMA, hue)


def oklch_to_rgb(lightness: float, chroma: float, hue_degrees: float) -> Colour:
    """SRGB of an OKLCH colour (B. Ottosson, "A perceptual color space for image processing", 2020).

    A chroma that sRGB cannot show is lowered until it can.
    """
    angle = math.radians(hue_degrees)
    while True:
        linear = _oklab_to_linear(lightness, chroma * math.cos(angle), chroma * math.sin(angle))
        if chroma <= 0 or all(-1e-3 <= v <= 1 + 1e-3 for v in linear):
            return tuple(round(255 * _gamma(min(max(v, 0.0), 1.0))) for v in linear)  # type: ignore[return-value]
        chroma -= 0.005


def lighter(colour: Colour, amount: float) -> Colour:
    """Mixed with white: 0 leaves the colour, 1 is white."""
    return tuple(round(c + (255 - c) * amount) for c in colour)  # type: ignore[return-value]


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever reads better on it (relative luminance of WCAG 2)."""
    r, g, b = ((c / 255) ** 2.2 for c in background)
    return (16, 16, 18) if 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 else (255, 255, 255)


def _oklab_to_linear(lightness: float, a: float, b: float) -> tuple[float, float, float]:
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def _gamma(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
