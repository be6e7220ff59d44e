"""Short clips with their truth: one action of one hand on one of two to four objects."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from henasy_stream.sources._world import motion, scene
from henasy_stream.sources._world.canvas import UInt8
from henasy_stream.sources._world.render import Boxes, Painter, visible_boxes
from henasy_stream.sources._world.vocabulary import HAND, NOUNS, VERBS, allowed_pair, narrate

LIFT_Y = (-0.12, 0.30)
"""Where on the table things are picked up and put down, so that they stay in the picture while they are lifted."""
_TABLE_Y = {motion.PUSH: (0.08, 0.36), motion.PULL: (-0.50, -0.22), motion.PICK: LIFT_Y, motion.PUT: LIFT_Y}
_ANYWHERE_Y = (-0.32, 0.28)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldObject:
    """Something with a mask: `noun_index` is -1 and `instance` the wearer for a hand; `track` names it for good."""

    noun: str
    noun_index: int
    instance: int
    track: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WorldClip:
    """A clip and all there is to know about it.

    frames: (T, H, W, 3) uint8 RGB.  instances: (T, H, W) uint8, 0 background, `i + 1` where `objects[i]` is seen.
    boxes: (T, N, 4) float32, half-open pixels of the visible part, NaN where it is too small.  is_hand: (N,) bool.
    times_s: (T,) within the action, which lasts `action_s`.
    """

    frames: UInt8
    instances: UInt8
    objects: tuple[WorldObject, ...]
    boxes: Boxes
    is_hand: npt.NDArray[np.bool_]
    verb: int
    noun: int
    target: int
    narration: str
    times_s: tuple[float, ...]
    action_s: float


@dataclass(frozen=True)
class ClipPlan:
    """A clip before it is painted."""

    look: scene.Look
    bodies: tuple[scene.Body, ...]
    poses: tuple[motion.ObjectPose, ...]
    action: motion.Action
    other: motion.HandPose | None
    turns: tuple[scene.Turn, ...]
    times_s: tuple[float, ...]
    narration: str

    def snapshot(self, t: float) -> scene.Snapshot:
        """The world at `t` seconds after the action began."""
        pose, hand = self.action.at(t)
        target, n = self.action.target, len(self.bodies)
        objects = tuple(
            scene.Placed(k, b, pose if k == target else p)
            for k, (b, p) in enumerate(zip(self.bodies, self.poses, strict=True))
        )
        left = self.action.hand == 1
        hands = [scene.PlacedHand(n, left, hand)]
        if self.other is not None:
            hands.insert(0, scene.PlacedHand(n + 1, not left, self.other))
        held = target if hand.shape == "grip" else -1
        return scene.Snapshot(self.look.view(t, self.turns), self.look.gain(t), objects, tuple(hands), held)


def scatter(rng: np.random.Generator, taken: list[tuple[float, float]], y: tuple[float, float]) -> tuple[float, float]:
    """A place on the table, far from those taken as far as chance allows."""
    best, best_gap = (0.0, 0.0), -1.0
    for _ in range(6):
        at = (float(rng.uniform(-0.6, 0.6)), float(rng.uniform(*y)))
        gap = min((math.hypot(at[0] - a, at[1] - b) for a, b in taken), default=9.0)
        if gap > best_gap:
            best, best_gap = at, gap
        if gap > 0.62:
            break
    return best


def resting_hand(rng: np.random.Generator, side: int) -> motion.HandPose:
    """A hand that lies at the lower edge of the picture, on the right for `side` 1 and on the left for -1."""
    x, y = side * float(rng.uniform(0.55, 0.95)), float(rng.uniform(0.5, 0.95))
    return motion.HandPose(x, y, 0.0, 0.0, "open" if rng.random() < 0.5 else "fist")


def lying_angle(rng: np.random.Generator) -> float:
    """Rotation of an object on the table: mostly upright for the wearer, sometimes anyhow."""
    return float(rng.normal(0.0, 0.7) if rng.random() < 0.75 else rng.uniform(-math.pi, math.pi))


def plan_clip(
    seed: int,
    split: str,
    num_frames: int,
    span_s: float,
    verb: int | None = None,
    noun: int | None = None,
    start_offset_s: float = 0.0,
    lead: int = 0,
) -> ClipPlan:
    """Draws everything that a clip shows from its arguments alone; `lead` frames come before the `num_frames`."""
    if split not in scene.SPLITS:
        raise ValueError(f"unknown split {split!r}: one of {', '.join(scene.SPLITS)}")
    rng = np.random.default_rng([scene.SPLITS.index(split), seed])
    look = scene.draw_look(rng, split)
    verb, noun = _draw_pair(rng, split, verb, noun)
    first, last = scene.pool(split)
    count = int(rng.integers(2, 5))
    others = [k for k in range(len(NOUNS)) if k != noun]
    nouns = [noun, *(others[k] for k in rng.permutation(len(others))[: count - 1])]
    target = int(rng.integers(count))
    nouns[0], nouns[target] = nouns[target], nouns[0]
    bodies = tuple(scene.body(n, int(rng.integers(first, last)), k) for k, n in enumerate(nouns))
    at = (float(rng.uniform(-0.38, 0.38)), float(rng.uniform(*_TABLE_Y.get(verb, _ANYWHERE_Y))))
    lift = motion.LIFT if verb == motion.PUT else 0.0
    hand = int(rng.random() < (0.5 - 0.6 * at[0]))
    pose = motion.ObjectPose(*at, lift, lying_angle(rng))
    action = motion.plan(rng, verb, target, (noun, bodies[target].instance), pose, hand, 0.0)
    taken = [at, (at[0] + action.dx, at[1] + action.dy)]
    poses = []
    for k in range(count):
        if k == target:
            poses.append(pose)
            continue
        place = scatter(rng, taken, (-0.62, 0.55))
        taken.append(place)
        poses.append(motion.ObjectPose(*place, 0.0, lying_angle(rng)))
    other = None
    if rng.random() < 0.45:
        other = resting_hand(rng, 1 if hand == 1 else -1)
    turns: tuple[scene.Turn, ...] = ()
    if rng.random() < 0.12:
        a = float(rng.uniform(0, 2 * math.pi))
        turns = (scene.Turn(float(rng.uniform(0, 3)), 1.2, 0.2 * math.cos(a), 0.12 * math.sin(a)),)
    start = float(rng.uniform(0, max(0.0, action.duration_s - span_s))) + start_offset_s
    gap = span_s / max(1, num_frames - 1)
    times = tuple(start + k * gap for k in range(-lead, num_frames))
    return ClipPlan(look, bodies, tuple(poses), action, other, turns, times, narrate(verb, noun, rng))


def _draw_pair(rng: np.random.Generator, split: str, verb: int | None, noun: int | None) -> tuple[int, int]:
    first, second = int(rng.integers(len(VERBS))), int(rng.integers(len(NOUNS)))
    if verb is not None and noun is not None:
        return verb, noun
    if verb is None and noun is None:
        while not allowed_pair(split, first, second):
            first, second = int(rng.integers(len(VERBS))), int(rng.integers(len(NOUNS)))
        return first, second
    if verb is not None:
        nouns = [k for k in range(len(NOUNS)) if allowed_pair(split, verb, k)]
        return verb, nouns[second % len(nouns)]
    assert noun is not None
    verbs = [k for k in range(len(VERBS)) if allowed_pair(split, k, noun)]
    return verbs[first % len(verbs)], noun


def paint_clip(plan: ClipPlan, size: tuple[int, int]) -> WorldClip:
    """Paints a planned clip at a size (H, W)."""
    painter = Painter(plan.look)
    n = len(plan.bodies) + 1 + (plan.other is not None)
    frames = np.empty((len(plan.times_s), *size, 3), np.uint8)
    instances = np.empty((len(plan.times_s), *size), np.uint8)
    boxes = np.empty((len(plan.times_s), n, 4), np.float32)
    for k, t in enumerate(plan.times_s):
        frames[k], instances[k] = painter.paint(plan.snapshot(t), size)
        boxes[k] = visible_boxes(instances[k], n)
    things = [
        WorldObject(noun=NOUNS[b.noun], noun_index=b.noun, instance=b.instance, track=b.track) for b in plan.bodies
    ]
    hands = [
        WorldObject(noun=HAND, noun_index=-1, instance=plan.look.wearer, track=len(things) + k)
        for k in range(n - len(things))
    ]
    return WorldClip(
        frames=frames,
        instances=instances,
        objects=(*things, *hands),
        boxes=boxes,
        is_hand=np.arange(n) >= len(things),
        verb=plan.action.verb,
        noun=plan.bodies[plan.action.target].noun,
        target=plan.action.target,
        narration=plan.narration,
        times_s=plan.times_s,
        action_s=plan.action.duration_s,
    )
