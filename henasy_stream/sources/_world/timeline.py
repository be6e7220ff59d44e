"""The endless sequence of actions of a stream: a function of its seed, walked forwards, with constant memory."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace

import numpy as np

from henasy_stream.sources._world import motion, scene
from henasy_stream.sources._world.clips import LIFT_Y, lying_angle, resting_hand, scatter
from henasy_stream.sources._world.motion import HandPose, ObjectPose
from henasy_stream.sources._world.segments import AWAY, Segment, Slot, State
from henasy_stream.sources._world.vocabulary import NOUNS, VERBS, allowed_pair

_KEPT = 12  # segments that stay at hand for looking back; anything older is walked to again from the start
_FIRST_TRACK = 2  # 0 and 1 are the right and the left hand
_COVERED = 0.25  # how often in a hard stream a hand covers something between two actions
_FAST = (0.4, 0.9)  # how far the head turns in 0.6 s there; half the picture is 0.8


class Timeline:
    """Segments of the stream of one seed.  Holds the last few only; an earlier time is reached by starting over.

    A `hard` stream makes identities difficult: two things are the same instance, the head turns fast in every action,
    hands are laid over things, and what is carried away always comes back itself.
    """

    def __init__(self, seed: int, split: str, hard: bool = False) -> None:
        self._seed, self._split, self._hard = seed, split, hard
        rng = np.random.default_rng([11, scene.SPLITS.index(split), seed])
        self.look = scene.draw_look(rng, split)
        self._begin()

    def _begin(self) -> None:
        self._rng = rng = np.random.default_rng([12, scene.SPLITS.index(self._split), self._seed])
        self._next_track = _FIRST_TRACK
        self._counts = [0.0] * len(VERBS)
        slots: list[Slot] = []
        count = int(rng.integers(3, 5))
        for k in range(count):
            taken = [(s.pose.x, s.pose.y) for s in slots if s.pose is not None]
            pose = ObjectPose(*scatter(rng, taken, (-0.5, 0.4)), 0.0, lying_angle(rng))
            body = self._new_body(slots)
            if self._hard and k == 1:
                body = replace(slots[0].body, track=body.track)
            slots.append(Slot(body, pose if k < 3 else None))
        hands = (self._rest(0), self._rest(1))
        self.segments: deque[Segment] = deque(maxlen=_KEPT)
        self._ready: deque[Segment] = deque()
        self._state, self._time = State(tuple(slots), hands), 0.0

    def segment(self, t: float) -> Segment:
        """The segment that covers the time `t` >= 0."""
        if self.segments and t < self.segments[0].start_s:
            self._begin()
        while not self.segments or self.segments[-1].end_s <= t:
            if not self._ready:
                self._extend()
            self.segments.append(self._ready.popleft())
        return next(s for s in self.segments if t < s.end_s)

    def turns(self, t: float) -> tuple[scene.Turn, ...]:
        """The quick turns of the head that belong to the segment at `t`; a turn never outlasts its segment."""
        return self.segment(t).turns

    def _new_body(self, slots: list[Slot] | tuple[Slot, ...]) -> scene.Body:
        rng, present = self._rng, {s.body.noun for s in slots}
        nouns = [k for k in range(len(NOUNS)) if k not in present]
        first, last = scene.pool(self._split)
        made = scene.body(nouns[int(rng.integers(len(nouns)))], int(rng.integers(first, last)), self._next_track)
        self._next_track += 1
        return made

    def _rest(self, hand: int) -> HandPose:
        side = 1 if hand == 0 else -1
        if self._rng.random() < 0.55:
            return HandPose(side * motion.REST[0], motion.REST[1], 0.0, 0.0, "open")
        return resting_hand(self._rng, side)

    def _extend(self) -> None:
        """Plans what comes next: perhaps a pause, then a movement, an action, perhaps an object carried away."""
        rng = self._rng
        if self._state.held < 0 and rng.random() < 0.07:
            self._pause()
        if self._hard and self._state.held < 0 and rng.random() < _COVERED:
            self._cover()
        target, verb, goal = self._choose()
        slot = self._state.slots[target]
        pose = slot.pose
        if verb == motion.PUT:
            assert goal is not None
            angle = pose.angle if pose is not None else lying_angle(rng)
            pose = ObjectPose(
                goal[0] + float(rng.uniform(-0.08, 0.08)), goal[1] + float(rng.uniform(0.10, 0.25)), motion.LIFT, angle
            )
        assert pose is not None
        hand = int(rng.random() < 0.5 - 0.6 * pose.x)
        if self._state.held >= 0:
            hand = 0 if self._state.hands[0].touching == target else 1
        lead = float(rng.uniform(0.4, 0.6))
        start = self._time + lead
        action = motion.plan(rng, verb, target, (slot.body.noun, slot.body.instance), pose, hand, start, goal)
        first_pose, first_hand = action.at(start)
        hands = [first_hand if k == hand else self._settled(k) for k in (0, 1)]
        slots = list(self._state.slots)
        slots[target] = replace(slot, pose=first_pose)
        before = State(tuple(slots), (hands[0], hands[1]), target if verb == motion.PUT else -1)
        if slot.pose is None:  # the hand brings it: it is below the picture by now
            empty = replace(first_hand, x=first_hand.x, y=first_hand.y + AWAY.y - first_pose.y)
            away = self._with_hand(hand, empty)
            if self._state.hands[hand].y < 1.7:
                self._add(0.35, away, None, ())
                action = replace(action, start_s=self._time + lead)
            self._state = away
        self._add(lead, before, None, ())
        last_pose, last_hand = action.at(action.end_s)
        slots[target] = replace(slot, pose=last_pose)
        hands[hand] = last_hand
        turns: tuple[scene.Turn, ...] = ()
        if self._hard or rng.random() < 0.15:
            size = float(rng.uniform(*_FAST)) if self._hard else 0.2
            turns = (self._turn(self._time + float(rng.uniform(0.7, action.duration_s - 0.7)), 1.2, size),)
        held = target if verb == motion.PICK else -1
        self._add(action.duration_s, State(tuple(slots), (hands[0], hands[1]), held), action, turns)
        self._counts[verb] += 1
        if held >= 0 and rng.random() < 0.5:
            self._carry_away(target, hand)

    def _settled(self, hand: int) -> HandPose:
        """Where the hand that does not act goes: it stays if it rests already."""
        now = self._state.hands[hand]
        return now if now.touching < 0 and now.h == 0 else self._rest(hand)

    def _add(self, length: float, after: State, action: motion.Action | None, turns: tuple[scene.Turn, ...]) -> None:
        self._ready.append(Segment(self._time, self._time + length, self._state, after, action, turns))
        self._state, self._time = after, self._time + length

    def _with_hand(self, hand: int, pose: HandPose) -> State:
        hands = [pose if k == hand else h for k, h in enumerate(self._state.hands)]
        return replace(self._state, hands=(hands[0], hands[1]))

    def _turn(self, at: float, length: float, size: float) -> scene.Turn:
        angle = float(self._rng.uniform(0, 2 * math.pi))
        return scene.Turn(at, length, size * math.cos(angle), 0.6 * size * math.sin(angle))

    def _pause(self) -> None:
        self._add(0.5, replace(self._state, hands=(self._rest(0), self._rest(1))), None, ())
        length = float(self._rng.uniform(1.0, 2.0))
        turn = self._turn(self._time + length / 2, length * 0.95, float(self._rng.uniform(0.4, 0.9)))
        self._add(length, self._state, None, (turn,))

    def _cover(self) -> None:
        """Lays a flat hand over a thing for a moment."""
        places = [slot.pose for slot in self._state.slots if slot.pose is not None]
        if not places:
            return
        pose = places[int(self._rng.integers(len(places)))]
        hand = int(pose.x < 0)
        over = HandPose(pose.x, pose.y, 0.12, 0.0, "flat")
        other = self._settled(1 - hand)
        hands = (over, other) if hand == 0 else (other, over)
        self._add(0.5, replace(self._state, hands=hands), None, ())
        self._add(float(self._rng.uniform(1.0, 2.0)), self._state, None, ())

    def _carry_away(self, target: int, hand: int) -> None:
        """Takes a lifted object out of the picture; it or something new comes back some time later."""
        slots, hands = list(self._state.slots), list(self._state.hands)
        grip, pose = hands[hand], slots[target].pose
        assert pose is not None
        slots[target] = Slot(slots[target].body, None)
        hands[hand] = replace(grip, y=grip.y + AWAY.y - pose.y)
        self._add(0.5, State(tuple(slots), (hands[0], hands[1]), target), None, ())
        hands[hand] = replace(hands[hand], h=0.0, touching=-1, shape="open")
        if not self._hard and self._rng.random() < 0.75:
            slots[target] = Slot(self._new_body(slots), None)
        self._state = State(tuple(slots), (hands[0], hands[1]))

    def _choose(self) -> tuple[int, int, tuple[float, float] | None]:
        """Target, verb and goal of the next action; verbs that came seldom come first."""
        rng, slots = self._rng, self._state.slots
        if self._state.held >= 0:
            return self._state.held, motion.PUT, self._free_place(self._state.held)
        options = [
            (self._counts[verb] + 2.5 * float(rng.random()), k, verb)
            for k, slot in enumerate(slots)
            for verb in range(len(VERBS))
            if self._possible(slot, verb)
            and (verb in (motion.PICK, motion.PUT) or allowed_pair(self._split, verb, slot.body.noun))
        ]
        if not options:
            options = [(0.0, k, motion.TURN) for k, slot in enumerate(slots) if slot.pose is not None]
        _, target, verb = min(options)
        pose = slots[target].pose
        if verb == motion.PUT:
            return target, verb, self._free_place(target)
        if verb in (motion.PUSH, motion.PULL):
            assert pose is not None
            y = pose.y + float(rng.uniform(0.62, 0.78)) * (1 if verb == motion.PULL else -1)
            low, high = max(-0.5, pose.x - 0.25), min(0.5, pose.x + 0.25)
            places = [(float(rng.uniform(low, high)), y) for _ in range(8)]
            return target, verb, max(places, key=lambda p: self._room(p, target))
        return target, verb, None

    def _possible(self, slot: Slot, verb: int) -> bool:
        if slot.pose is None or verb == motion.PUT:
            return slot.pose is None and verb == motion.PUT
        if verb == motion.PUSH:
            return slot.pose.y > -0.02
        if verb == motion.PULL:
            return slot.pose.y < -0.12
        return slot.pose.y > -0.35 if verb == motion.PICK else slot.pose.y < 0.45

    def _others(self, target: int) -> list[tuple[float, float]]:
        return [(s.pose.x, s.pose.y) for k, s in enumerate(self._state.slots) if s.pose is not None and k != target]

    def _room(self, place: tuple[float, float], target: int) -> float:
        return min((math.hypot(place[0] - x, place[1] - y) for x, y in self._others(target)), default=9.0)

    def _free_place(self, target: int) -> tuple[float, float]:
        return scatter(self._rng, self._others(target), LIFT_Y)
