from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.clip_table import ClipTable
from training.data.negatives import SceneNegatives
from training.data.records import Clip


def table(*clips):
    """(video, time) or (video, time, start, end); by default each clip has its own stretch."""
    return ClipTable.of(
        Clip(video=video, time=time, start=rest[0] if rest else time, end=rest[1] if rest else time + 1 + i / 1000)
        for i, (video, time, *rest) in enumerate(clips)
    )


def draws(negatives, row, times=200):
    rng = np.random.default_rng(0)
    return {negatives.draw(row, rng) for _ in range(times)}


def test_a_negative_is_of_the_same_video_and_window():
    negatives = SceneNegatives(table(("a", 1), ("b", 2), ("a", 59), ("a", 61), ("a", 30), ("b", 3)))
    assert draws(negatives, 0) == {2, 4}
    assert draws(negatives, 1) == {5}


def test_windows_are_as_long_as_asked():
    clips = table(("a", 1), ("a", 59), ("a", 61))
    assert draws(SceneNegatives(clips, window_s=600), 0) == {1, 2}


def test_all_mates_are_equally_likely():
    negatives = SceneNegatives(table(*(("a", i) for i in range(5))))
    rng = np.random.default_rng(0)
    counts = np.bincount([negatives.draw(2, rng) for _ in range(4000)], minlength=5)
    assert counts[2] == 0
    np.testing.assert_allclose(counts[[0, 1, 3, 4]] / 4000, 0.25, atol=0.03)


def test_alone_in_its_window_the_nearest_of_the_video_stands_in():
    negatives = SceneNegatives(table(("a", 10), ("a", 130), ("a", 300), ("b", 1)))
    assert draws(negatives, 1) == {0}
    assert draws(negatives, 2) == {1}


def test_alone_in_its_video_any_clip_of_another_stands_in():
    negatives = SceneNegatives(table(("a", 10), ("b", 20), ("c", 5), ("c", 6)))
    assert draws(negatives, 1) == {0, 2, 3}
    assert negatives.note == "hard negatives: 4 clips, 2 of them alone in 60 s, 2 alone in their video"


def test_a_second_narration_of_the_same_stretch_is_the_anchor_too():
    negatives = SceneNegatives(table(("a", 10, 9, 11), ("a", 10, 9, 11), ("a", 20, 19, 21)))
    assert draws(negatives, 0) == {2}
    assert draws(negatives, 2) == {0, 1}


def test_without_narration_times_the_middle_counts():
    nan = float("nan")
    negatives = SceneNegatives(table(("a", nan, 58, 60), ("a", nan, 59, 63), ("a", nan, 0, 2)))
    assert draws(negatives, 0) == {2}


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 300)), min_size=2, max_size=30),
    st.integers(0, 2**32 - 1),
)
def test_never_the_anchor_always_the_closest_kind_and_repeatable(clips, seed):
    clip_table = table(*clips)
    negatives = SceneNegatives(clip_table)
    for row, (video, time) in enumerate(clips):
        drawn = negatives.draw(row, np.random.default_rng(seed))
        assert drawn != row
        assert drawn == SceneNegatives(clip_table).draw(row, np.random.default_rng(seed))
        others = [i for i in range(len(clips)) if i != row]
        same_video = [i for i in others if clips[i][0] == video]
        scene = [i for i in same_video if clips[i][1] // 60 == time // 60]
        assert drawn in (scene or same_video or others)


def test_a_table_with_nothing_to_draw_from():
    with pytest.raises(ValueError, match="nothing to draw"):
        SceneNegatives(table(("a", 1)))
    with pytest.raises(ValueError, match="nothing to draw"):
        SceneNegatives(table(("a", 1), ("a", 2)), window_s=0)
    with pytest.raises(ValueError, match="no clip differs"):
        SceneNegatives(table(("a", 1, 0, 1), ("a", 1, 0, 1))).draw(0, np.random.default_rng(0))
