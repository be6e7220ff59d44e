"""An endless stream of the world with its truth at any time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from henasy_stream.sources._world import scene
from henasy_stream.sources._world.canvas import UInt8
from henasy_stream.sources._world.clips import WorldObject
from henasy_stream.sources._world.render import Boxes, Painter, visible_boxes
from henasy_stream.sources._world.segments import Segment
from henasy_stream.sources._world.timeline import Timeline
from henasy_stream.sources._world.vocabulary import HAND, NOUNS


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldAction:
    """An action of the stream: indices of its words, the track of the object that is acted upon, its times."""

    verb: int
    noun: int
    track: int
    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WorldTruth:
    """What there is at one moment.

    boxes: (N, 4) float32, half-open pixels of the visible part of `objects`, NaN where too little is to be seen.
    is_hand: (N,) bool.  target: index of the object that is acted upon.  contacts: (hand, object) indices that touch.
    Between two actions `in_transition` is True, `verb`, `noun` and `target` are -1, and the action's times are those of
    the movement.
    """

    objects: tuple[WorldObject, ...]
    boxes: Boxes
    is_hand: npt.NDArray[np.bool_]
    verb: int
    noun: int
    target: int
    action_start_s: float
    action_end_s: float
    in_transition: bool
    contacts: tuple[tuple[int, int], ...]


class World:
    """An endless stream: one table and one wearer, three or four objects at a time, one action after another.

    Everything is a function of seed, split and time.  Asking for later times is cheap and takes no further memory; a
    time long past walks the stream from its start again.

    Args:
        seed: any non-negative number.
        split: which instances and verb-noun pairs appear, as in `render_clip`; only what is picked up and put down may
            be any noun, for what is lifted has to come down again.
        hard: identities are difficult to keep: two things look the same, fast turns of the head, hands laid over
            things; what is carried away comes back.

    Raises:
        ValueError: if the split is unknown.
    """

    def __init__(self, seed: int, split: str = "heldout", *, hard: bool = False) -> None:
        if split not in scene.SPLITS:
            raise ValueError(f"unknown split {split!r}: one of {', '.join(scene.SPLITS)}")
        self.seed, self.split, self.hard = seed, split, hard
        self._timeline = Timeline(seed, split, hard)
        self._painter = Painter(self._timeline.look)

    def render(self, t_s: float, size: tuple[int, int]) -> tuple[UInt8, UInt8]:
        """Picture (H, W, 3) RGB and instance image (H, W), 0 background and `i + 1` for `truth(t_s).objects[i]`."""
        return self._painter.paint(self._snapshot(t_s), size)

    def truth(self, t_s: float, size: tuple[int, int]) -> WorldTruth:
        """All there is to know about the moment; boxes in pixels of a picture of `size` (H, W)."""
        segment, snapshot = self._timeline.segment(t_s), self._snapshot(t_s)
        state, action = segment.at(t_s), segment.action
        n = len(state.slots)
        things = [
            WorldObject(noun=NOUNS[b.noun], noun_index=b.noun, instance=b.instance, track=b.track)
            for b in (slot.body for slot in state.slots)
        ]
        hands = [WorldObject(noun=HAND, noun_index=-1, instance=self._timeline.look.wearer, track=k) for k in (0, 1)]
        return WorldTruth(
            objects=(*things, *hands),
            boxes=visible_boxes(self._painter.label(snapshot, size), n + 2),
            is_hand=np.arange(n + 2) >= n,
            verb=-1 if action is None else action.verb,
            noun=-1 if action is None else state.slots[action.target].body.noun,
            target=-1 if action is None else action.target,
            action_start_s=segment.start_s,
            action_end_s=segment.end_s,
            in_transition=action is None,
            contacts=tuple((n + k, hand.touching) for k, hand in enumerate(state.hands) if hand.touching >= 0),
        )

    def actions_until(self, t_s: float) -> tuple[WorldAction, ...]:
        """All actions that begin before `t_s`, in order."""
        timeline, found, t = Timeline(self.seed, self.split, self.hard), [], 0.0
        while t < t_s:
            segment = timeline.segment(t)
            if segment.action is not None:
                found.append(_action(segment))
            t = segment.end_s
        return tuple(found)

    def _snapshot(self, t_s: float) -> scene.Snapshot:
        segment, look = self._timeline.segment(t_s), self._timeline.look
        state = segment.at(t_s)
        n = len(state.slots)
        objects = [scene.Placed(k, s.body, s.pose) for k, s in enumerate(state.slots) if s.pose is not None]
        acting = [k for k in (0, 1) if state.hands[k].touching >= 0]
        order = [k for k in (0, 1) if k not in acting] + acting
        hands = [scene.PlacedHand(n + k, k == 1, state.hands[k]) for k in order]
        return scene.Snapshot(look.view(t_s, segment.turns), look.gain(t_s), tuple(objects), tuple(hands), state.held)


def _action(segment: Segment) -> WorldAction:
    action = segment.action
    assert action is not None
    body = segment.before.slots[action.target].body
    return WorldAction(verb=action.verb, noun=body.noun, track=body.track, start_s=segment.start_s, end_s=segment.end_s)
