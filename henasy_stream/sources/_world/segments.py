"""Stretches of a stream's time and where objects and hands are within them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from henasy_stream.sources._world import motion, scene
from henasy_stream.sources._world.motion import HandPose, ObjectPose

AWAY = ObjectPose(0.0, 2.3, motion.LIFT, 0.0)
"""Below the lower edge of any picture."""


@dataclass(frozen=True, slots=True)
class Slot:
    """An object of the stream: where it lies, or None while it is out of the picture."""

    body: scene.Body
    pose: ObjectPose | None


@dataclass(frozen=True, slots=True)
class State:
    """All objects and both hands (right, left) between two segments; `held` is the slot in the hand that holds one."""

    slots: tuple[Slot, ...]
    hands: tuple[HandPose, HandPose]
    held: int = -1


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time: an action, or without one a movement from `before` to `after`."""

    start_s: float
    end_s: float
    before: State
    after: State
    action: motion.Action | None
    turns: tuple[scene.Turn, ...]

    def at(self, t: float) -> State:
        """Objects and hands at a time within the segment."""
        if self.action is not None:
            pose, hand = self.action.at(t)
            slots, hands = list(self.before.slots), list(self.before.hands)
            slots[self.action.target] = replace(slots[self.action.target], pose=pose)
            hands[self.action.hand] = hand
            held = self.action.target if hand.shape == "grip" else -1
            return State(tuple(slots), (hands[0], hands[1]), held)
        u = (t - self.start_s) / (self.end_s - self.start_s)
        carried = max(self.before.held, self.after.held) if u < 1 else self.after.held
        pairs = zip(self.before.slots, self.after.slots, strict=True)
        slots = [Slot(a.body, _between(a.pose, b.pose, motion.step(u))) for a, b in pairs]
        right, left = (_move(a, b, u) for a, b in zip(self.before.hands, self.after.hands, strict=True))
        return State(tuple(slots), (right, left), carried)


def _between(a: ObjectPose | None, b: ObjectPose | None, k: float) -> ObjectPose | None:
    if a is b:
        return a
    if a is None or b is None:  # carried in from below, or out
        a, b = (
            a or replace(AWAY, x=b.x if b else 0.0, angle=b.angle if b else 0.0),
            b or replace(AWAY, x=a.x if a else 0.0, angle=a.angle if a else 0.0),
        )
    return ObjectPose(
        a.x + (b.x - a.x) * k, a.y + (b.y - a.y) * k, a.h + (b.h - a.h) * k, a.angle + (b.angle - a.angle) * k
    )


def _move(a: HandPose, b: HandPose, u: float) -> HandPose:
    if a is b:
        return a
    k = motion.step(u)
    carrying = a.touching == b.touching and a.touching >= 0
    shape = a.shape if carrying or u < 0.3 else b.shape if u > 0.8 else "open"
    h = a.h + (b.h - a.h) * k + (0.0 if carrying else 0.25 * math.sin(math.pi * u))
    touching = a.touching if carrying or u < 0.15 else b.touching if u > 0.9 else -1
    return HandPose(a.x + (b.x - a.x) * k, a.y + (b.y - a.y) * k, h, a.twist + (b.twist - a.twist) * k, shape, touching)
