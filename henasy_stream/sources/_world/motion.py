"""How a hand and an object move during an action.

Ground coordinates: x right, y towards the wearer, in units of half the short side of the frame; `h` is the height over
the table.  A one-way motion runs at an almost constant speed a repeated one at a frequency that 0.5 s does not divide,
so that four samples 0.5 s apart tell the verbs apart wherever in the action they fall.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from henasy_stream.sources._world.shapes import REACH_BINS, reach_of
from henasy_stream.sources._world.vocabulary import VERBS

PICK, PUT, PUSH, PULL, TURN, SHAKE, WIPE, TAP = range(len(VERBS))
LIFT = 1.0
SHOULDER = (0.55, 2.1)  # right hand; the left one mirrors it
REST = (0.62, 1.95)


@dataclass(frozen=True, slots=True)
class ObjectPose:
    """Centre on the ground, height, rotation (radians, from +x towards +y)."""

    x: float
    y: float
    h: float
    angle: float


@dataclass(frozen=True, slots=True)
class HandPose:
    """Grip centre, height, rotation against the direction of the arm, shape of the hand, and what it touches."""

    x: float
    y: float
    h: float
    twist: float
    shape: str
    touching: int = -1


def ease(u: float) -> float:
    """0..1 to 0..1 at a constant speed except for the first and last tenth."""
    u = min(max(u, 0.0), 1.0)
    a = 0.1
    v = 1 / (1 - a)
    if u < a:
        return v * u * u / (2 * a)
    if u > 1 - a:
        return 1 - v * (1 - u) ** 2 / (2 * a)
    return v * (u - a / 2)


def step(u: float) -> float:
    """0..1 to 0..1, at rest at both ends."""
    u = min(max(u, 0.0), 1.0)
    return u * u * (3 - 2 * u)


def reach(noun: int, instance: int, direction: float) -> float:
    """How far the object's silhouette reaches in a direction that is given in its own frame."""
    return reach_of(noun, instance)[round(direction / (2 * math.pi) * REACH_BINS) % REACH_BINS]


@dataclass(frozen=True, slots=True)
class Action:
    """One action: `start` is the object's pose when it begins, (`dx`, `dy`) how far it goes, `grip` the vector from the
    object to the hand, `rate` cycles (or turns) per second, `amplitude` in units.
    """

    verb: int
    target: int
    hand: int
    start_s: float
    duration_s: float
    start: ObjectPose
    dx: float
    dy: float
    grip: tuple[float, float]
    rate: float
    phase: float
    amplitude: float
    side: tuple[float, float]

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s

    def at(self, t: float) -> tuple[ObjectPose, HandPose]:
        """Poses of the object and the acting hand at `t`; before and after the action those of its ends."""
        t = min(max(t - self.start_s, 0.0), self.duration_s)
        e = ease(t / self.duration_s)
        ramp = step(t / 0.3) * step((self.duration_s - t) / 0.3)
        s, (gx, gy) = self.start, self.grip
        wave = math.sin(2 * math.pi * self.rate * t + self.phase)
        other = math.cos(2 * math.pi * self.rate * t + self.phase)
        if self.verb in (PICK, PUT):
            o = ObjectPose(
                s.x + e * self.dx, s.y + e * self.dy, s.h + (LIFT - s.h if self.verb == PICK else -s.h) * e, s.angle
            )
            return o, HandPose(o.x + gx, o.y + gy, o.h, 0.0, "grip", self.target)
        if self.verb in (PUSH, PULL):
            o = ObjectPose(s.x + e * self.dx, s.y + e * self.dy, s.h, s.angle + 0.06 * wave * ramp)
            return o, HandPose(o.x + gx, o.y + gy, o.h, 0.0, "fist" if self.verb == PUSH else "grip", self.target)
        if self.verb == TURN:
            o = replace(s, angle=s.angle + 2 * math.pi * self.rate * self.duration_s * e)
            return o, HandPose(
                o.x + gx, o.y + gy, o.h, 0.3 * math.sin(2 * math.pi * 0.7 * t + self.phase), "grip", self.target
            )
        if self.verb == SHAKE:
            sway = self.amplitude * wave * ramp
            o = ObjectPose(
                s.x + self.side[0] * sway, s.y + self.side[1] * sway, s.h + 0.3 * ramp, s.angle + 0.3 * other * ramp
            )
            return o, HandPose(o.x + gx, o.y + gy, o.h, 0.25 * other * ramp, "grip", self.target)
        if self.verb == WIPE:
            along = self.amplitude * wave * ramp
            across = 0.05 * math.sin(4 * math.pi * self.rate * t + 2 * self.phase) * ramp
            x, y = (
                s.x + self.side[0] * along - self.side[1] * across,
                s.y + self.side[1] * along + self.side[0] * across,
            )
            return s, HandPose(x + gx, y + gy, s.h + 0.04, 0.0, "flat", self.target)
        back = self.amplitude * (0.5 + 0.5 * wave) * ramp
        x, y = s.x + gx + back * self.side[0], s.y + gy + back * self.side[1]
        return s, HandPose(x, y, s.h + 0.5 * back, 0.0, "point", self.target if back < 0.12 else -1)


def plan(
    rng: np.random.Generator,
    verb: int,
    target: int,
    key: tuple[int, int],
    pose: ObjectPose,
    hand: int,
    start_s: float,
    goal: tuple[float, float] | None = None,
) -> Action:
    """Draws the particulars of an action on the object `key` = (noun, instance) that now stands at `pose`.

    `goal` is where push, pull and put down take the object; None lets chance decide.
    """
    noun, instance = key
    mirror = 1 if hand == 0 else -1
    to_x, to_y = SHOULDER[0] * mirror - pose.x, SHOULDER[1] - pose.y
    norm = math.hypot(to_x, to_y)
    to_x, to_y = to_x / norm, to_y / norm
    duration = float(rng.uniform(3.0, 3.5)) if verb in (PICK, PUT, PUSH, PULL) else float(rng.uniform(3.0, 5.5))
    dx = dy = rate = amplitude = 0.0
    side = (to_x, to_y)
    near = 0.72 * reach(noun, instance, math.atan2(to_y, to_x) - pose.angle)
    grip = (to_x * near, to_y * near)
    if verb == PICK:
        dx, dy = float(rng.uniform(-0.08, 0.08)), float(rng.uniform(0.10, 0.25))
    elif verb == PUT:
        dx, dy = float(rng.uniform(-0.08, 0.08)), -float(rng.uniform(0.10, 0.25))
    elif verb in (PUSH, PULL):
        dx, dy = float(rng.uniform(-0.15, 0.15)), float(rng.uniform(0.62, 0.82)) * (1 if verb == PULL else -1)
    if goal is not None:
        dx, dy = goal[0] - pose.x, goal[1] - pose.y
    if verb == PUSH:
        n = math.hypot(dx, dy)
        behind = reach(noun, instance, math.atan2(-dy, -dx) - pose.angle)
        grip = (-dx / n * behind, -dy / n * behind + 0.02)
    elif verb == PULL:
        grip = (to_x * near * 0.6, to_y * near * 0.6)
    elif verb == TURN:
        rate = float(rng.uniform(0.20, 0.30)) * (1 if rng.random() < 0.5 else -1)
        close = 0.9 * min(reach_of(noun, instance))
        grip = (to_x * close, to_y * close)
    elif verb == SHAKE:
        rate, amplitude = float(rng.uniform(1.28, 1.42)), float(rng.uniform(0.17, 0.24))
        side = (to_y, -to_x)
    elif verb == WIPE:
        rate, amplitude = float(rng.uniform(0.60, 0.76)), float(rng.uniform(0.24, 0.34))
        side, grip = (to_y, -to_x), (to_x * 0.13, to_y * 0.13)
    elif verb == TAP:
        rate, amplitude = float(rng.uniform(0.62, 0.78)), float(rng.uniform(0.34, 0.46))
        grip = (to_x * 0.21, to_y * 0.21)
    phase = float(rng.uniform(0, 2 * math.pi))
    return Action(verb, target, hand, start_s, duration, pose, dx, dy, grip, rate, phase, amplitude, side)
