"""What a scene is made of besides its actions: table, light, wearer, camera; and where all of it is at one moment."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from henasy_stream.sources._world.motion import HandPose, ObjectPose
from henasy_stream.sources._world.style import style_of

TILT = 0.16
NEARNESS = 1.22  # how much closer the camera is than one whose square would just show the whole workplace
TRAIN, VALIDATION, HELD_OUT = (0, 200), (500, 600), (1000, 1100)
WEARERS = 60
SPLITS = ("train", "heldout", "pairs", "validation")


def pool(split: str) -> tuple[int, int]:
    """Half-open range of the instance, ground and wearer numbers of a split."""
    return {"train": TRAIN, "validation": VALIDATION}.get(split, HELD_OUT)


@dataclass(frozen=True, slots=True)
class Body:
    """An object that takes part: which instance of which noun, its half length in units and its number in the scene."""

    noun: int
    instance: int
    radius: float
    track: int


def body(noun: int, instance: int, track: int) -> Body:
    """The body of an instance, whose size belongs to the instance."""
    return Body(noun, instance, style_of(noun, instance).radius, track)


@dataclass(frozen=True, slots=True)
class View:
    """The camera at one moment: translation, rotation, zoom."""

    x: float
    y: float
    roll: float
    zoom: float

    def project(self, x: float, y: float, h: float) -> tuple[float, float, float]:
        """Ground point at height `h` to picture units (the short side spans -1..1) and the scale there."""
        c, s = math.cos(self.roll), math.sin(self.roll)
        px = self.zoom * (c * (x - self.x) - s * (y - self.y))
        py = self.zoom * (s * (x - self.x) + c * (y - self.y))
        w = 1 / max(0.25, 1 - TILT * py)
        scale = self.zoom * w * (1 + 0.5 * h)
        return px * w, py * w - 0.16 * h * scale, scale

    def matrix(self) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """The same for points on the ground as a 3x3 homography."""
        c, s, z = math.cos(self.roll), math.sin(self.roll), self.zoom
        move = np.array(
            [
                [z * c, -z * s, -z * (c * self.x - s * self.y)],
                [z * s, z * c, -z * (s * self.x + c * self.y)],
                [0, 0, 1.0],
            ]
        )
        move[2] -= TILT * move[1]
        return move


@dataclass(frozen=True, slots=True)
class Turn:
    """A quick turn of the head and back, `length_s` long around `at_s`."""

    at_s: float
    length_s: float
    dx: float
    dy: float

    def at(self, t: float) -> tuple[float, float]:
        u = (t - self.at_s) / self.length_s
        k = math.cos(math.pi * u) ** 2 if abs(u) < 0.5 else 0.0
        return self.dx * k, self.dy * k


@dataclass(frozen=True)
class Look:
    """Everything about a scene that does not depend on what happens in it."""

    ground: int
    ground_roll: float
    ground_x: float
    ground_y: float
    ground_zoom: float
    wearer: int
    tint: tuple[float, float, float]
    vignette: float
    slope: tuple[float, float]
    shade: tuple[float, float, float, float]
    flicker: tuple[float, float, float]
    waves: tuple[tuple[float, float, float], ...]
    offset: tuple[float, float, float, float]

    def view(self, t: float, turns: tuple[Turn, ...] = ()) -> View:
        """The camera at time `t`: slow sways about a fixed view plus the quick turns given."""
        v = list(self.offset)
        for k, (amplitude, rate, phase) in enumerate(self.waves):
            v[k % 4] += amplitude * math.sin(rate * t + phase)
        for turn in turns:
            dx, dy = turn.at(t)
            v[0] += dx
            v[1] += dy
        return View(v[0], v[1], v[2], NEARNESS * math.exp(v[3]))

    def gain(self, t: float) -> float:
        """Brightness at time `t` against the scene's mean."""
        amplitude, rate, phase = self.flicker
        return 1 + amplitude * math.sin(rate * t + phase)


def draw_look(rng: np.random.Generator, split: str) -> Look:
    """A random scene from the split's pools."""
    first, last = pool(split)
    u = rng.random(48).tolist()
    low_high = (0.055, 0.055, 0.035, 0.03)
    waves = []
    for k in range(12):
        slow = k < 4
        rate = (0.4 + 1.1 * u[k]) if slow else (1.5 + 2.5 * u[k])
        waves.append((low_high[k % 4] * (1.0 if slow else 0.3) * (0.3 + u[12 + k]), rate, 6.283 * u[24 + k]))
    warm = 0.10 * (2 * u[36] - 1)
    gain = 0.72 + 0.5 * u[37]
    ground, wearer = int(rng.integers(first, last)), int(rng.integers(first, first + WEARERS))
    return Look(
        ground=ground,
        ground_roll=6.283 * u[38],
        ground_x=4 * u[39],
        ground_y=4 * u[40],
        ground_zoom=0.8 + 0.5 * u[41],
        wearer=wearer,
        tint=(gain * (1 + warm), gain, gain * (1 - warm)),
        vignette=0.35 * u[42],
        slope=(0.22 * (2 * u[43] - 1), 0.22 * (2 * u[44] - 1)),
        shade=(2.4 * u[45] - 1.2, 2.4 * u[46] - 1.2, 0.4 + 0.5 * u[47], 0.45 * float(rng.random() < 0.5)),
        flicker=(0.04, 0.5 + float(rng.random()), 0.0),
        waves=tuple(waves),
        offset=(
            float(rng.uniform(-0.08, 0.08)),
            float(rng.uniform(-0.08, 0.08)),
            float(rng.uniform(-0.10, 0.10)),
            float(rng.uniform(-0.08, 0.06)),
        ),
    )


@dataclass(frozen=True, slots=True)
class Placed:
    """An object at one moment; `index` is its place among the objects of the truth."""

    index: int
    body: Body
    pose: ObjectPose


@dataclass(frozen=True, slots=True)
class PlacedHand:
    """A hand at one moment."""

    index: int
    left: bool
    pose: HandPose


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where everything is at one moment; `held` is the index of the object in the acting hand, over the others."""

    view: View
    gain: float
    objects: tuple[Placed, ...]
    hands: tuple[PlacedHand, ...]
    held: int = -1
