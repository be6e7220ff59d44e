"""Clips cut out of streams carry the stream's own truth."""

from __future__ import annotations

import numpy as np
import pytest

from henasy_stream.sources import world

SIZE = (64, 64)


@pytest.fixture(scope="module")
def cuts():
    return list(world.cut_clips(5, "train", seconds=45, size=SIZE, num_frames=4, span_s=1.5))


def test_one_clip_of_each_action_that_the_split_shows(cuts):
    actions = [a for a in world.World(5, "train").actions_until(45) if (a.verb, a.noun) not in world.HELD_OUT_PAIRS]
    pairs = [(c.verb, c.noun) for c in cuts]
    assert pairs == [(a.verb, a.noun) for a in actions][-len(pairs) :]
    assert len(actions) - len(pairs) <= 1  # a window may not reach back beyond the beginning


def test_same_arguments_give_the_same_clips(cuts):
    again = list(world.cut_clips(5, "train", seconds=45, size=SIZE, num_frames=4, span_s=1.5))
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(cuts, again, strict=True))
    assert [c.narration for c in cuts] == [c.narration for c in again]


def test_middle_of_the_window_lies_in_the_action(cuts):
    for clip in cuts:
        middle = (clip.times_s[0] + clip.times_s[-1]) / 2
        assert 0 <= middle <= clip.action_s
        assert clip.times_s[-1] - clip.times_s[0] == pytest.approx(1.5)


def test_target_is_the_noun_that_is_named(cuts):
    for clip in cuts:
        assert clip.objects[clip.target].noun_index == clip.noun
        assert not clip.is_hand[clip.target]


def test_boxes_frame_the_instances_whatever_their_column(cuts):
    for clip in cuts:
        for frame in range(4):
            for column in range(len(clip.objects)):
                ys, xs = np.nonzero(clip.instances[frame] == column + 1)
                box = clip.boxes[frame, column]
                if np.isfinite(box).all():
                    assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_object_keeps_its_column_through_a_window_that_reaches_over_two_actions(cuts):
    crossing = [c for c in cuts if c.times_s[0] < 0 or c.times_s[-1] > c.action_s]
    assert crossing
    for clip in crossing:
        assert len({thing.track for thing in clip.objects}) == len(clip.objects)
