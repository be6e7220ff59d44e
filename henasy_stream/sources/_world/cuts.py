"""Clips cut out of endless streams: things lie over one another there, and windows reach into what came before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from henasy_stream.sources._world import scene
from henasy_stream.sources._world.clips import WorldClip, WorldObject
from henasy_stream.sources._world.stream import World, WorldAction
from henasy_stream.sources._world.vocabulary import allowed_pair, narrate


def cut_clips(
    seed: int, split: str, *, seconds: float, size: tuple[int, int], num_frames: int, span_s: float, lead: int = 0
) -> Iterator[WorldClip]:
    """One clip of each action of a stream's first `seconds`, its middle at a random moment of the action.

    `lead` frames more, as far apart, come before the `num_frames`.  Actions whose verb-noun pair does not belong to the
    split are left out.
    """
    world = World(seed, split)
    rng = np.random.default_rng([13, scene.SPLITS.index(split), seed])
    before_s = lead * span_s / max(1, num_frames - 1)
    for action in world.actions_until(seconds):
        middle = float(rng.uniform(action.start_s, action.end_s))
        narration = narrate(action.verb, action.noun, rng)
        if middle >= span_s / 2 + before_s and allowed_pair(split, action.verb, action.noun):
            times = np.linspace(middle - span_s / 2 - before_s, middle + span_s / 2, lead + num_frames).tolist()
            yield _cut(world, action, times, size, narration)


def _cut(world: World, action: WorldAction, times: list[float], size: tuple[int, int], narration: str) -> WorldClip:
    objects: dict[int, WorldObject] = {}  # by track, in order of appearance
    frames, labels, seen = [], [], []
    for t in times:
        image, instances = world.render(t, size)
        truth = world.truth(t, size)
        for thing in truth.objects:
            objects.setdefault(thing.track, thing)
        columns = [list(objects).index(thing.track) for thing in truth.objects]
        renumber = np.array([0, *(column + 1 for column in columns)], np.uint8)
        frames.append(image)
        labels.append(renumber[instances])
        seen.append((columns, truth.boxes))
    boxes = np.full((len(times), len(objects), 4), np.nan, np.float32)
    for frame, (columns, found) in enumerate(seen):
        boxes[frame, columns] = found
    things = tuple(objects.values())
    return WorldClip(
        frames=np.stack(frames),
        instances=np.stack(labels),
        objects=things,
        boxes=boxes,
        is_hand=np.array([thing.noun_index < 0 for thing in things]),
        verb=action.verb,
        noun=action.noun,
        target=list(objects).index(action.track),
        narration=narration,
        times_s=tuple(t - action.start_s for t in times),
        action_s=action.end_s - action.start_s,
    )
