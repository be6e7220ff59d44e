from __future__ import annotations

import math
import pickle

import pytest

from henasy_stream.errors import UserError
from training.data.egoclip import read_egoclip
from training.data.lavila_pickles import read_lavila

HEADER = (
    "clip_idx video_uid video_dur narration_source narration_ind narration_time clip_start clip_end clip_text tag_verb "
    "tag_noun"
)


def row(index=0, *, time="12.5", start="12.0", end="13.25", text="#C C picks a cup", verb="[7]", noun="[102, 3]"):
    cells = (index, "uid-1", "600.5", "narration_pass_1", index, time, start, end, text, verb, noun)
    return "\t".join(map(str, cells))


def write(path, *lines, header=HEADER):
    path.write_text("\n".join(["\t".join(header.split()), *lines]) + "\n")
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "egoclip.csv"


def test_a_row_becomes_a_clip(path):
    table, skips = read_egoclip(write(path, row(), row(1, start="600", end="600", verb="[]", noun="[]")))
    assert not skips.lines()
    clip = table[0]
    assert (clip.video, clip.start, clip.end, clip.time) == ("uid-1", 12, 13.25, 12.5)
    assert (clip.text, clip.verbs, clip.nouns, clip.key) == ("#C C picks a cup", (7,), (102, 3), "2")
    assert (table[1].start, table[1].end, table[1].nouns) == (600, 600, ())


def test_quotes_and_tabs_in_narrations(path):
    table, _ = read_egoclip(write(path, row(text='"#C C says ""hi""\tand leaves"'), row(1, text='#C C reads "x"')))
    assert [clip.text for clip in table] == ['#C C says "hi"\tand leaves', '#C C reads "x"']


def test_unusable_rows_are_left_out_and_counted_with_the_first_of_each(path):
    lines = [
        row(0),
        row(1, start="nan"),
        row(2, end=""),
        row(3, start="5", end="4"),
        row(4, start="700", end="701"),
        row(5, start="inf"),
        row(6) + "\textra",
        "7\tshort",
    ]
    table, skips = read_egoclip(write(path, *lines))
    assert len(table) == 1
    assert dict(skips.counts) == {
        "start or end is not a finite number": 3,
        "end before start": 1,
        "outside the video": 1,
        "wrong number of cells": 2,
    }
    assert skips.lines()[0] == (
        "egoclip.csv: 3 × start or end is not a finite number (first: row 3: nan-13.25 s of 600.5 s)"
    )


def test_ends_beyond_the_video_and_negative_starts_are_mended_and_counted(path):
    table, skips = read_egoclip(write(path, row(0, start="-0.3", end="1"), row(1, start="600", end="601")))
    assert [(clip.start, clip.end) for clip in table] == [(0, 1), (600, 600.5)]
    assert sorted(skips.counts) == ["end beyond the video set to the video's end", "start below 0 set to 0"]


def test_a_narration_without_a_time_is_kept(path):
    assert math.isnan(read_egoclip(write(path, row(time="")))[0][0].time)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (row(noun="[582]"), r"row 2, column tag_noun: 582 is not in the taxonomy \(0\.\.581\)"),
        (row(verb="[118]"), r"row 2, column tag_verb: 118 is not in the taxonomy \(0\.\.117\)"),
        (row(noun="exec('x')"), r"row 2, column tag_noun: \"exec\('x'\)\" is not a list of whole numbers"),
        (row(start="soon"), r"row 2, column clip_start: 'soon' is not a number"),
        (row(start="nan"), r"no usable row; egoclip\.csv: 1 × start or end"),
    ],
)
def test_a_cell_that_belongs_to_no_such_table_is_an_error(line, reason, path):
    with pytest.raises(UserError, match=reason):
        read_egoclip(write(path, line))


def test_the_table_must_be_the_one(path):
    with pytest.raises(UserError, match="no column tag_noun"):
        read_egoclip(write(path, row(), header=HEADER.replace("tag_noun", "nouns")))
    path.write_text(path.read_text().replace("\t", ",").replace("nouns", "tag_noun"))
    with pytest.raises(UserError, match="separated by commas, expected tabs"):
        read_egoclip(path)


class TestLavila:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "ego4d_train.pkl"

    def read(self, path, entries):
        path.write_bytes(pickle.dumps(entries))
        return read_lavila(path)

    def test_one_or_several_narrations(self, path):
        table, skips = self.read(
            path,
            [("u", 1.5, 3.0, "#C C cuts"), ("u", 2, 4, ["cuts", "slices"]), ("w", 0.0, 1.0, ["a", "b"], [0.1, 0.2])],
        )
        assert [(clip.video, clip.start, clip.end, clip.texts) for clip in table] == [
            ("u", 1.5, 3.0, ("#C C cuts",)),
            ("u", 2.0, 4.0, ("cuts", "slices")),
            ("w", 0.0, 1.0, ("a", "b")),
        ]
        assert not skips.lines()

    def test_unusable_clips_are_counted(self, path):
        entries = [("u", 0, 1, "x"), ("u", math.nan, 1, "x"), ("u", 3, 2, "x"), ("u", 0, 1, ""), ("u", -0.5, 1, "x")]
        table, skips = self.read(path, entries)
        assert [clip.start for clip in table] == [0, 0]
        assert skips.counts == {
            "start or end is not a finite number": 1,
            "end before start": 1,
            "no narration": 1,
            "start below 0 set to 0": 1,
        }

    @pytest.mark.parametrize(
        ("entries", "reason"),
        [
            ({"a": 1}, "holds a dict"),
            ([("u", 0, 1)], "entry 0: expected"),
            ([("u", 0, 1, "x"), ("u", "0", 1, "x")], r"entry 1: \(str, str, int, str\)"),
            ([("u", 0, 1, [1])], "entry 0"),
            ([], "no usable clip"),
        ],
    )
    def test_another_pickle_is_an_error(self, entries, reason, path):
        with pytest.raises(UserError, match=reason):
            self.read(path, entries)
