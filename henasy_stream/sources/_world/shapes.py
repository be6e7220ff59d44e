"""Sprites of the nouns and how far their silhouettes reach."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from henasy_stream.sources._world import desk, kitchen
from henasy_stream.sources._world.canvas import Canvas, Sprite
from henasy_stream.sources._world.style import Style, style_of
from henasy_stream.sources._world.vocabulary import NOUNS

REACH_BINS = 32
_DRAW: dict[str, Callable[[Canvas, Style], None]] = {
    "cup": kitchen.cup,
    "knife": kitchen.knife,
    "pan": kitchen.pan,
    "plate": kitchen.plate,
    "bottle": kitchen.bottle,
    "spoon": kitchen.spoon,
    "book": desk.book,
    "phone": desk.phone,
    "apple": desk.apple,
    "box": desk.box,
    "scissors": desk.scissors,
    "brush": desk.brush,
}


def draw(noun: int, instance: int, pixels: int) -> Sprite:
    """The sprite of an instance, about `pixels` wide."""
    style = style_of(noun, instance)
    canvas = Canvas(2.08, 2.08, (1.04, 1.04), pixels / 2.08)
    _DRAW[NOUNS[noun]](canvas, style)
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
