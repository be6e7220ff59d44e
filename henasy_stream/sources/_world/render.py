"""Paints a snapshot of the world at any size; the pictures differ in their resolution only."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from henasy_stream.sources._world.canvas import Cache, Sprite, UInt8
from henasy_stream.sources._world.ground import PERIOD, draw_ground
from henasy_stream.sources._world.hands import SCALE, draw_hand
from henasy_stream.sources._world.motion import SHOULDER
from henasy_stream.sources._world.scene import Look, Placed, PlacedHand, Snapshot
from henasy_stream.sources._world.shapes import draw

Boxes = npt.NDArray[np.float32]
_LEVELS = (24, 32, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 768, 1024)
_SHADOW = 0.5

_objects: Cache[Sprite] = Cache(96 << 20, lambda s: s.nbytes)
_hands: Cache[Sprite] = Cache(96 << 20, lambda s: s.nbytes)
_grounds: Cache[UInt8] = Cache(96 << 20, lambda g: g.nbytes)


def cached_bytes() -> int:
    """Bytes that the sprite and texture caches hold now."""
    return _objects.used + _hands.used + _grounds.used


def _level(pixels: float) -> int:
    return next((v for v in _LEVELS if v >= pixels), _LEVELS[-1])


def visible_boxes(instances: UInt8, count: int) -> Boxes:
    """Extents (count, 4) of the objects 1..count in an instance image; NaN where too little is to be seen."""
    short = min(instances.shape)
    least = max(3, round(8 * (short / 96) ** 2))
    boxes = np.full((count, 4), np.nan, np.float32)
    area = np.bincount(instances.ravel(), minlength=count + 1)
    for k in range(count):
        if area[k + 1] >= least:
            x, y, w, h = cv2.boundingRect((instances == k + 1).view(np.uint8))
            boxes[k] = (x, y, x + w, y + h)
    return boxes


class Painter:
    """Paints one scene.  Holds the light of the last size only; sprites and textures live in shared bounded caches."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self._light: tuple[tuple[int, int], UInt8] | None = None

    def paint(self, snapshot: Snapshot, size: tuple[int, int]) -> tuple[UInt8, UInt8]:
        """Picture (H, W, 3) RGB and instance image (H, W): 0 background, object index + 1 elsewhere."""
        image = self._ground(snapshot, size)
        instances = np.zeros(size, np.uint8)
        self._things(snapshot, image, instances)
        cv2.multiply(image, self._lights(size), dst=image, scale=snapshot.gain / 128)
        return image, instances

    def label(self, snapshot: Snapshot, size: tuple[int, int]) -> UInt8:
        """The instance image alone, equal to that of `paint`."""
        instances = np.zeros(size, np.uint8)
        self._things(snapshot, None, instances)
        return instances

    def _ground(self, snapshot: Snapshot, size: tuple[int, int]) -> UInt8:
        height, width = size
        half, look = min(size) / 2, self.look
        n = 128
        while n < 2048 and n < PERIOD * half * 0.7:
            n *= 2
        texture = _grounds.get((look.ground, n), lambda: draw_ground(look.ground, n))
        c, s = math.cos(look.ground_roll) * look.ground_zoom, math.sin(look.ground_roll) * look.ground_zoom
        k = PERIOD / n
        place = np.array([[c * k, -s * k, 0.0], [s * k, c * k, 0.0], [0, 0, 1.0]])
        centre = place @ (look.ground_x / k, look.ground_y / k, 1.0)
        place[:2, 2] = -centre[:2]
        place[:2, 2] += place[:2, :2] @ (0.5, 0.5)
        pixels = np.array([[half, 0, width / 2 - 0.5], [0, half, height / 2 - 0.5], [0, 0, 1.0]])
        m = pixels @ snapshot.view.matrix() @ place
        picture = cv2.warpPerspective(texture, m, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return np.asarray(picture, np.uint8)

    def _lights(self, size: tuple[int, int]) -> UInt8:
        if self._light is None or self._light[0] != size:
            self._light = (size, _light_map(self.look, size))
        return self._light[1]

    def _things(self, snapshot: Snapshot, image: UInt8 | None, instances: UInt8) -> None:
        lying = sorted((o for o in snapshot.objects if o.index != snapshot.held), key=lambda o: o.pose.y)
        for thing in lying:
            self._object(snapshot, thing, image, instances)
        acting = [h for h in snapshot.hands if h.pose.touching >= 0 and h.pose.touching == snapshot.held]
        for hand in snapshot.hands:
            if hand not in acting:
                self._hand(snapshot, hand, image, instances)
        for thing in snapshot.objects:
            if thing.index == snapshot.held:
                self._object(snapshot, thing, image, instances)
        for hand in acting:
            self._hand(snapshot, hand, image, instances)

    def _object(self, snapshot: Snapshot, thing: Placed, image: UInt8 | None, instances: UInt8) -> None:
        height, width = instances.shape
        half, b, p = min(height, width) / 2, thing.body, thing.pose
        pixels = _level(2.08 * b.radius * half * 1.1)
        sprite = _objects.get((b.noun, b.instance, pixels), lambda: draw(b.noun, b.instance, pixels))
        angle = p.angle + snapshot.view.roll
        x, y, scale = snapshot.view.project(p.x, p.y, p.h)
        where = _similarity(width / 2 + half * x, height / 2 + half * y, scale * half * b.radius / sprite.ppu, angle)
        if image is not None:
            gx, gy, ground = snapshot.view.project(p.x + 0.03 + 0.12 * p.h, p.y + 0.04 + 0.15 * p.h, 0.0)
            shadow = _similarity(
                width / 2 + half * gx,
                height / 2 + half * gy,
                ground * half * b.radius / sprite.ppu * (1 + 0.2 * p.h),
                angle,
            )
            _shade(sprite, shadow, image, (0.0, 0.0), _SHADOW * (1 - 0.35 * p.h))
        _put(sprite, where, image, instances, thing.index + 1)

    def _hand(self, snapshot: Snapshot, hand: PlacedHand, image: UInt8 | None, instances: UInt8) -> None:
        height, width = instances.shape
        half, p, wearer = min(height, width) / 2, hand.pose, self.look.wearer
        ppu = _level(half * SCALE * 1.1)
        sprite = _hands.get((wearer, p.shape, hand.left, ppu), lambda: draw_hand(wearer, p.shape, hand.left, ppu))
        x, y, scale = snapshot.view.project(p.x, p.y, p.h)
        dx, dy = (-SHOULDER[0] if hand.left else SHOULDER[0]) - x, max(SHOULDER[1] - y, 0.3)
        angle = math.atan2(-dx, dy) + p.twist
        where = _similarity(width / 2 + half * x, height / 2 + half * y, scale * half * SCALE / sprite.ppu, angle)
        if image is not None:
            _shade(sprite, where, image, ((0.04 + 0.06 * p.h) * half, (0.05 + 0.08 * p.h) * half), 0.35)
        _put(sprite, where, image, instances, hand.index + 1)


def _similarity(x: float, y: float, scale: float, angle: float) -> list[float]:
    """[a, b, x, y] of the map (u, v) -> (a u - b v + x, b u + a v + y)."""
    return [scale * math.cos(angle), scale * math.sin(angle), x, y]


def _roi(
    width: float, height: float, origin: tuple[float, float], where: list[float], shape: tuple[int, ...]
) -> tuple[int, int, int, int, npt.NDArray[np.float64]] | None:
    """The part of the picture that a sprite covers and the affine map from sprite pixels into it, or None."""
    a, b, x, y = where
    u0, v0 = -origin[0], -origin[1]
    u1, v1 = u0 + width, v0 + height
    xs = (a * u0 - b * v0, a * u1 - b * v0, a * u0 - b * v1, a * u1 - b * v1)
    ys = (b * u0 + a * v0, b * u1 + a * v0, b * u0 + a * v1, b * u1 + a * v1)
    x0, x1 = max(0, math.floor(x + min(xs))), min(shape[1], math.ceil(x + max(xs)) + 1)
    y0, y1 = max(0, math.floor(y + min(ys))), min(shape[0], math.ceil(y + max(ys)) + 1)
    if x0 >= x1 or y0 >= y1:
        return None
    u, v = 0.5 - origin[0], 0.5 - origin[1]
    m = np.array([[a, -b, a * u - b * v + x - 0.5 - x0], [b, a, b * u + a * v + y - 0.5 - y0]])
    return x0, y0, x1, y1, m


def _put(sprite: Sprite, where: list[float], image: UInt8 | None, instances: UInt8, value: int) -> None:
    h, w = sprite.alpha.shape
    roi = _roi(w, h, sprite.origin, where, instances.shape)
    if roi is None:
        return
    x0, y0, x1, y1, m = roi
    if image is None:
        alpha = cv2.warpAffine(sprite.alpha, m, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    else:
        layer = cv2.warpAffine(sprite.rgba, m, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
        alpha = cv2.extractChannel(layer, 3)
        under = image[y0:y1, x0:x1]
        keep = cv2.cvtColor(cv2.bitwise_not(alpha), cv2.COLOR_GRAY2BGR)
        image[y0:y1, x0:x1] = cv2.add(cv2.multiply(under, keep, scale=1 / 255), cv2.cvtColor(layer, cv2.COLOR_BGRA2BGR))
    instances[y0:y1, x0:x1][alpha >= 128] = value


def _shade(sprite: Sprite, where: list[float], image: UInt8, shift: tuple[float, float], strength: float) -> None:
    """Darkens the picture by the sprite's blurred silhouette."""
    h, w = sprite.shadow.shape
    a, b, x, y = where
    origin = (sprite.origin[0] / 4 + sprite.pad, sprite.origin[1] / 4 + sprite.pad)
    roi = _roi(w, h, origin, [a * 4, b * 4, x + shift[0], y + shift[1]], image.shape)
    if roi is None:
        return
    x0, y0, x1, y1, m = roi
    dark = cv2.warpAffine(sprite.shadow, m, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    keep = cv2.cvtColor(cv2.convertScaleAbs(dark, alpha=-strength, beta=255), cv2.COLOR_GRAY2BGR)
    image[y0:y1, x0:x1] = cv2.multiply(image[y0:y1, x0:x1], keep, scale=1 / 255)


def _light_map(look: Look, size: tuple[int, int]) -> UInt8:
    """Factor of the light at every pixel and channel, 128 for 1: tint, slope, vignette and a soft shadow."""
    height, width = size
    short = min(size)
    rows, columns = max(2, round(24 * height / short)), max(2, round(24 * width / short))
    y = (((np.arange(rows) + 0.5) / rows - 0.5) * 2 * height / short)[:, None]
    x = (((np.arange(columns) + 0.5) / columns - 0.5) * 2 * width / short)[None]
    sx, sy, radius, depth = look.shade
    light = 1 + look.slope[0] * np.clip(x, -1.5, 1.5) + look.slope[1] * np.clip(y, -1.5, 1.5)
    light = light * (1 - look.vignette * np.clip((x * x + y * y) / 2.5, 0, 1))
    light = light * (1 - depth / (1 + np.exp(8 * (np.hypot(x - sx, y - sy) - radius))))
    coarse = np.clip(light[..., None] * np.asarray(look.tint) * 128, 0, 255).astype(np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), 0, 255).astype(np.uint8)
