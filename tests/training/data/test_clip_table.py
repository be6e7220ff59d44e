from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.clip_table import ClipTable
from training.data.records import Clip

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1, max_size=12)
clips = st.lists(
    st.builds(
        Clip,
        video=st.sampled_from("abc"),
        start=st.floats(0, 1e5),
        end=st.floats(0, 1e5),
        texts=st.lists(texts, max_size=3).map(tuple),
        time=st.floats(0, 1e5),
        nouns=st.lists(st.integers(0, 581), max_size=4).map(tuple),
        verbs=st.lists(st.integers(0, 117), max_size=2).map(tuple),
        key=st.text("xyz0", max_size=3),
    ),
    max_size=12,
)


@given(clips)
def test_clips_come_back_as_they_were(given_clips):
    table = ClipTable.of(iter(given_clips))
    assert len(table) == len(given_clips)
    assert list(table) == given_clips
    assert table.videos == tuple(dict.fromkeys(clip.video for clip in given_clips))
    assert list(pickle.loads(pickle.dumps(table))) == given_clips


def test_rows_are_reached_from_either_end_and_no_further():
    table = ClipTable.of(Clip(video="v", start=i, end=i + 1, time=i) for i in range(3))
    assert (table[-1].start, table[np.int64(1)].start) == (2, 1)
    for row in (3, -4):
        with pytest.raises(IndexError, match="of 3"):
            table[row]
    assert [clip.start for clip in table.select([2, 0])] == [2, 0]


def test_a_line_break_in_a_text_does_not_make_two():
    assert ClipTable.of([Clip(video="v", start=0, end=1, texts=("a\nb",))])[0].texts == ("a b",)


def test_a_hundred_bytes_a_clip():
    clip = Clip(video="v" * 36, start=1, end=2, texts=("#C C picks up the cup",), time=1, nouns=(1, 2), verbs=(3,))
    assert len(pickle.dumps(ClipTable.of([clip] * 1000))) < 110 * 1000
