"""Five-way questions about one's own clips, as EgoMCQ asks them: which of five does a narration tell of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from training.data.records import Clip

CHOICES = 5
Questions = npt.NDArray[np.int64]


def same_action(a: Clip, b: Clip) -> bool:
    """Whether two clips tell of a same verb and a same noun, or in the same words."""
    return a.text == b.text or bool({*a.verbs} & {*b.verbs} and {*a.nouns} & {*b.nouns})


def questions(clips: Sequence[Clip], kind: str, rng: np.random.Generator) -> Questions:
    """(Q, 5) places of clips, the right one last.

    A clip asks nothing that has fewer than four others to be told from.
    """
    found = []
    for place, clip in enumerate(clips):
        same_video = kind == "intra"
        others = [
            other
            for other, its in enumerate(clips)
            if other != place and (its.video == clip.video) == same_video and not same_action(its, clip)
        ]
        if len(others) < CHOICES - 1:
            continue
        if same_video:
            others = sorted(others, key=lambda other: abs(_middle(clips[other]) - _middle(clip)))[: CHOICES - 1]
        else:
            others = _of_many_videos(others, clips, rng)
        # The right one last: the first of equal scores is taken, and a tie must not count as right.
        found.append([*others, place])
    return np.array(found, np.int64).reshape(-1, CHOICES)


def _of_many_videos(others: list[int], clips: Sequence[Clip], rng: np.random.Generator) -> list[int]:
    """Four of these, of as many videos as there are: one of each in turn, in random order."""
    by_video: dict[str, list[int]] = defaultdict(list)
    for other in rng.permutation(others).tolist():
        by_video[clips[other].video].append(other)
    turns = sorted((turn, i, other) for i, row in enumerate(by_video.values()) for turn, other in enumerate(row))
    return [other for _, _, other in turns[: CHOICES - 1]]


def _middle(clip: Clip) -> float:
    return (clip.start + clip.end) / 2
