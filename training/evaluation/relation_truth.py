"""Which hand touches what and what lies over what in the synthetic world.

contacts: the hand that acts holds, pushes, wipes or taps the thing at this moment (`WorldTruth.contacts`).  A hand that
only passes over a thing or rests beside it does not touch it.

on: of two things that lie on the table, neither of them in a hand, one is painted over the other, and their whole
silhouettes share at least a tenth of the smaller one.  Nothing in this world contains anything, so there is no "in".

Both only where both things are to be seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from henasy_stream.sources._world.scene import Snapshot
from henasy_stream.sources.world import World, WorldTruth

LEAST_SHARED = 0.1
SILHOUETTE = 120
"""Side in pixels at which silhouettes are compared."""

PairSet = frozenset[tuple[int, int]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrueRelations:
    """(subject, object) by predicate, as indices into `truth.objects`."""

    truth: WorldTruth
    pairs: dict[str, PairSet]


def true_relations(world: World, t_s: float, size: tuple[int, int]) -> TrueRelations:
    """What holds at a moment; boxes of the truth in pixels of a picture of `size` (H, W)."""
    truth = world.truth(t_s, size)
    seen = np.asarray(np.isfinite(truth.boxes).all(1))
    contacts = frozenset((hand, thing) for hand, thing in truth.contacts if seen[hand] and seen[thing])
    on = frozenset((upper, lower) for upper, lower in _stacked(world, t_s) if seen[upper] and seen[lower])
    return TrueRelations(truth=truth, pairs={"contacts": contacts, "on": on})


def _stacked(world: World, t_s: float) -> list[tuple[int, int]]:
    snapshot, painter = world._snapshot(t_s), world._painter
    lying = sorted((thing for thing in snapshot.objects if thing.index != snapshot.held), key=lambda o: o.pose.y)
    alone = [Snapshot(snapshot.view, snapshot.gain, (thing,), ()) for thing in lying]
    outlines = [painter.label(one, (SILHOUETTE, SILHOUETTE)).astype(bool) for one in alone]
    areas = [int(np.count_nonzero(outline)) for outline in outlines]
    return [
        (lying[upper].index, lying[lower].index)
        for upper in range(len(lying))
        for lower in range(upper)
        if np.count_nonzero(np.logical_and(outlines[upper], outlines[lower]))
        >= LEAST_SHARED * max(min(areas[upper], areas[lower]), 1)
    ]
