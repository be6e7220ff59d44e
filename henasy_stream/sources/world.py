"""The synthetic egocentric world: clips and endless streams with their truth, without any download."""

from __future__ import annotations

from henasy_stream.sources._world.clips import WorldClip, WorldObject, paint_clip, plan_clip
from henasy_stream.sources._world.vocabulary import HAND, HELD_OUT_PAIRS, NOUNS, VERBS, narrate, phrase, phrases

__all__ = [
    "HAND",
    "HELD_OUT_PAIRS",
    "NOUNS",
    "VERBS",
    "WorldClip",
    "WorldObject",
    "narrate",
    "phrase",
    "phrases",
    "render_clip",
]


def render_clip(
    seed: int,
    *,
    split: str = "train",
    size: tuple[int, int] = (96, 96),
    num_frames: int = 4,
    span_s: float = 1.5,
    verb: int | None = None,
    noun: int | None = None,
    start_offset_s: float = 0.0,
) -> WorldClip:
    """Renders one clip with its truth; a function of its arguments alone.

    Args:
        seed: any non-negative number; a seed shows different things in different splits.
        split: "train", "heldout" (instances, tables and wearers that "train" never shows, the same verb-noun pairs) or
            "pairs" (the same with the pairs of `HELD_OUT_PAIRS`).
        size: height and width in pixels; the scene does not depend on it.
        num_frames: frames, evenly spread over `span_s` seconds.
        span_s: seconds from the first to the last frame, which fall at a random phase of the action.
        verb: index into `VERBS`; None draws one.
        noun: index into `NOUNS`; None draws one.
        start_offset_s: shifts all times, for windows that follow each other; beyond its ends the action stands still.

    Raises:
        ValueError: if the split is unknown.
    """
    return paint_clip(plan_clip(seed, split, num_frames, span_s, verb, noun, start_offset_s), size)
