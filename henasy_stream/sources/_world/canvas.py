"""Drawing of sprites: anti-aliased shapes in local units, then relief, outline and a soft shadow.

The same calls at another resolution give the same picture, which is why sprites are drawn and never enlarged.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Colour = tuple[float, float, float]
Points = Sequence[tuple[float, float]] | npt.NDArray[np.floating]
_SHIFT = 4  # fractional bits of OpenCV's polygon coordinates
_V = TypeVar("_V")


@dataclass(frozen=True, slots=True)
class Sprite:
    """A picture with transparency and the place of its local origin.

    rgba: (h, w, 4) premultiplied; alpha: (h, w); shadow: (h', w') at a quarter of the resolution, `pad` pixels around.
    `origin` is in sprite pixels, `ppu` the pixels per local unit.
    """

    rgba: UInt8
    alpha: UInt8
    shadow: UInt8
    origin: tuple[float, float]
    ppu: float
    pad: int

    @property
    def nbytes(self) -> int:
        return self.rgba.nbytes + self.alpha.nbytes + self.shadow.nbytes


class Cache(Generic[_V]):
    """Keeps the last used values until they exceed `limit` bytes together."""

    def __init__(self, limit: int, size_of: Callable[[_V], int]) -> None:
        self.limit = limit
        self.used = 0
        self._size_of = size_of
        self._values: OrderedDict[Hashable, _V] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], _V]) -> _V:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
            return value
        value = make()
        self._values[key] = value
        self.used += self._size_of(value)
        while self.used > self.limit and len(self._values) > 1:
            self.used -= self._size_of(self._values.popitem(last=False)[1])
        return value


def circle(
    cx: float, cy: float, rx: float, ry: float | None = None, turn: float = 0.0, n: int = 56
) -> npt.NDArray[np.float64]:
    """Outline of an ellipse as (n, 2) points."""
    a = np.linspace(0, 2 * np.pi, n, endpoint=False)
    x, y = rx * np.cos(a), (rx if ry is None else ry) * np.sin(a)
    c, s = np.cos(turn), np.sin(turn)
    return np.stack([cx + c * x - s * y, cy + s * x + c * y], 1)


def rounded(x0: float, y0: float, x1: float, y1: float, r: float) -> npt.NDArray[np.float64]:
    """Outline of a rectangle with rounded corners as (n, 2) points."""
    r = min(r, (x1 - x0) / 2, (y1 - y0) / 2)
    a = np.linspace(0, np.pi / 2, 8)
    corners = ((x1 - r, y1 - r, 0.0), (x0 + r, y1 - r, 0.5), (x0 + r, y0 + r, 1.0), (x1 - r, y0 + r, 1.5))
    return np.concatenate(
        [np.stack([cx + r * np.cos(a + t * np.pi), cy + r * np.sin(a + t * np.pi)], 1) for cx, cy, t in corners]
    )


def smooth(points: Points, rounds: int = 3) -> npt.NDArray[np.float64]:
    """Closed outline with its corners cut `rounds` times (Chaikin)."""
    p = np.asarray(points, np.float64)
    for _ in range(rounds):
        q = np.roll(p, -1, 0)
        p = np.stack([0.75 * p + 0.25 * q, 0.25 * p + 0.75 * q], 1).reshape(-1, 2)
    return p


class Canvas:
    """A transparent picture of `width` x `height` local units, drawn with premultiplied colours."""

    def __init__(self, width: float, height: float, origin: tuple[float, float], ppu: float) -> None:
        self.w, self.h = 4 * int(np.ceil(width * ppu / 4)), 4 * int(np.ceil(height * ppu / 4))
        self.origin, self.ppu = origin, ppu
        self.ss = 2 if min(self.w, self.h) <= 160 else 1
        shape = (self.h * self.ss, self.w * self.ss)
        self.rgb: UInt8 = np.zeros((*shape, 3), np.uint8)
        self.alpha: UInt8 = np.zeros(shape, np.uint8)

    def _fixed(self, points: Points) -> npt.NDArray[np.int32]:
        p = (np.asarray(points, np.float64) + self.origin) * (self.ppu * self.ss) - 0.5
        return np.round(p * (1 << _SHIFT)).astype(np.int32)

    def mask(self, points: Points) -> UInt8:
        """Coverage of a polygon in 0..255."""
        out = np.zeros_like(self.alpha)
        cv2.fillPoly(out, [self._fixed(points)], 255, cv2.LINE_AA, _SHIFT)
        return out

    def fill(self, points: Points, colour: Colour) -> None:
        """Adds a filled polygon."""
        p = [self._fixed(points)]
        cv2.fillPoly(self.rgb, p, colour, cv2.LINE_AA, _SHIFT)
        cv2.fillPoly(self.alpha, p, 255, cv2.LINE_AA, _SHIFT)

    def stroke(self, points: Points, width: float, colour: Colour, closed: bool = False) -> None:
        """Adds a line of `width` local units with round ends."""
        p = [self._fixed(points)]
        pixels = max(1, round(width * self.ppu * self.ss))
        cv2.polylines(self.rgb, p, closed, colour, pixels, cv2.LINE_AA, _SHIFT)
        cv2.polylines(self.alpha, p, closed, 255, pixels, cv2.LINE_AA, _SHIFT)

    def tint(self, coverage: UInt8, colour: Colour, opacity: float = 1.0) -> None:
        """Colours what is already there, where `coverage` says so."""
        x, y, w, h = cv2.boundingRect(coverage)
        part = slice(y, y + h), slice(x, x + w)
        m = coverage[part].astype(np.float32)[..., None] * np.float32(opacity / 255)
        under = self.alpha[part].astype(np.float32)[..., None] * m * np.float32(1 / 255)
        self.rgb[part] = (self.rgb[part] * (1 - m) + np.asarray(colour, np.float32) * under).astype(np.uint8)

    def grid(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Local coordinates x (1, w) and y (h, 1) of the pixel centres."""
        k = self.ppu * self.ss
        x = (np.arange(self.alpha.shape[1], dtype=np.float32) + 0.5) / k - self.origin[0]
        y = (np.arange(self.alpha.shape[0], dtype=np.float32) + 0.5) / k - self.origin[1]
        return x[None], y[:, None]

    def finish(self, relief: float = 1.0, outline: float = 0.45, blur: float = 0.1) -> Sprite:
        """Shades the drawing as if it were rounded, darkens its rim and gives it a shadow of `blur` local units."""
        k = self.ppu * self.ss
        a = self.alpha.astype(np.float32) / 255
        wide = cv2.GaussianBlur(a, (0, 0), max(0.8, 0.085 * k))
        gx, gy = cv2.Sobel(wide, cv2.CV_32F, 1, 0), cv2.Sobel(wide, cv2.CV_32F, 0, 1)
        light = (gx * 0.55 + gy * 0.83) * (0.085 * k * 0.25 * relief)
        thin = cv2.GaussianBlur(a, (0, 0), max(0.6, 0.022 * k))
        rim = np.clip(2 - 2 * thin, 0, 1)
        shade = np.clip((0.80 + 0.28 * wide + np.clip(light, -0.45, 0.45)) * (1 - outline * rim), 0.1, 1.35)
        rgb = np.minimum(self.rgb * shade[..., None], self.alpha[..., None]).astype(np.uint8)
        rgba = np.concatenate([rgb, self.alpha[..., None]], 2)
        if self.ss > 1:
            rgba = cv2.resize(rgba, (self.w, self.h), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        sigma = max(0.5, blur * self.ppu / 4)
        pad = int(np.ceil(2.5 * sigma)) + 1
        small = cv2.resize(rgba[..., 3], (self.w // 4, self.h // 4), interpolation=cv2.INTER_AREA)
        small = cv2.copyMakeBorder(small, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0)
        shadow = cv2.GaussianBlur(small, (0, 0), sigma).astype(np.uint8, copy=False)
        origin = (self.origin[0] * self.ppu, self.origin[1] * self.ppu)
        return Sprite(rgba, np.ascontiguousarray(rgba[..., 3]), shadow, origin, self.ppu, pad)
