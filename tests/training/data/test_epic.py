from __future__ import annotations

import pickle

import numpy as np
import pytest

from henasy_stream.errors import UserError
from training.data.epic import class_texts, read_retrieval, read_segments, seconds
from training.data.tables import checksum

HEADER = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
)


def row(key="P01_01_0", start="00:00:01.50", stop="00:01:02.25", text="open door", verb=3, noun=3, nouns="[3]"):
    return f'{key},P01,P01_01,00:00:01.00,{start},{stop},90,3735,{text},open,{verb},door,{noun},"[\'door\']","{nouns}"'


def write(path, *lines, header=HEADER):
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_a_row_becomes_a_segment(tmp_path):
    path = write(tmp_path / "EPIC_100_validation.csv", row(), row("P01_01_1", nouns="[3, 17]"))
    first, second = read_segments(path)
    assert (first.clip.video, first.clip.start, first.clip.end) == ("P01/P01_01", 1.5, 62.25)
    assert (first.clip.key, first.clip.text, first.verb, first.noun) == ("P01_01_0", "open door", 3, 3)
    assert second.clip.nouns == (3, 17)


def test_timestamps():
    assert seconds("01:02:03.45") == pytest.approx(3723.45)
    for bad in ("1:2", "", "00:00:nan", "-1:00:00", "a:b:c"):
        with pytest.raises(ValueError):
            seconds(bad)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (row(verb=97), r"row 2, column verb_class: 97 is not in the taxonomy \(0\.\.96\)"),
        (row(noun=300), r"row 2, column noun_class: 300 is not in the taxonomy \(0\.\.299\)"),
        (row(nouns="[300]"), "column all_noun_classes: 300"),
        (row(start="1.5"), "column start_timestamp: '1.5' is not HH:MM:SS"),
        (row(stop="00:00:01.00"), "column stop_timestamp: 00:00:01.00 lies before the start"),
        (row() + ",x", "row 2: 16 cells where the header has 15"),
    ],
)
def test_a_bad_cell_is_named(line, reason, tmp_path):
    with pytest.raises(UserError, match=reason):
        read_segments(write(tmp_path / "a.csv", line))


def test_another_table_is_an_error(tmp_path):
    with pytest.raises(UserError, match="separated by tabs"):
        read_segments(write(tmp_path / "a.csv", header=HEADER.replace(",", "\t")))
    with pytest.raises(UserError, match="no column verb_class"):
        read_segments(write(tmp_path / "a.csv", header=HEADER.replace("verb_class", "verbs")))
    with pytest.raises(UserError, match="no rows"):
        read_segments(write(tmp_path / "a.csv"))


def test_class_texts_are_the_unique_narrations_of_an_action(tmp_path):
    lines = [row("a", text="open door"), row("b", text="open cupboard", noun=5), row("c", text="open the door")]
    segments = read_segments(write(tmp_path / "a.csv", *lines, row("d", text="open door")))
    assert class_texts(segments) == {(3, 3): ("open door", "open the door"), (3, 5): ("open cupboard",)}


class TestRetrieval:
    @pytest.fixture
    def paths(self, tmp_path):
        videos = write(tmp_path / "test.csv", row("a"), row("b", text="shut door"), row("c"))
        sentences = write(tmp_path / "test_sentence.csv", "b,shut door", "a,open door", header="narration_id,narration")
        relevancy = tmp_path / "relevancy.pkl"
        relevancy.write_bytes(pickle.dumps(np.array([[0.5, 1], [1, 0.5], [0.5, 1]])))
        return videos, sentences, relevancy

    def test_three_files_make_a_task(self, paths):
        task = read_retrieval(*paths)
        assert [segment.clip.key for segment in task.segments] == ["a", "b", "c"]
        assert task.sentences == ("shut door", "open door")
        assert task.columns.tolist() == [1, 0]
        assert task.relevance.tolist() == [[0.5, 1], [1, 0.5], [0.5, 1]]
        assert task.checksums == {path.name: checksum(path) for path in paths}

    def test_an_unknown_sentence_is_named(self, paths):
        write(paths[1], "z,peel", header="narration_id,narration")
        with pytest.raises(UserError, match=r"test_sentence\.csv, row 2, column narration_id: 'z' is not in test\.csv"):
            read_retrieval(*paths)

    @pytest.mark.parametrize(
        ("matrix", "reason"),
        [
            (np.zeros((2, 3)), r"\(2, 3\), expected 3 videos x 2 sentences"),
            ([[1, 2]], "list, expected"),
            (np.full((3, 2), np.nan), "outside 0..1"),
            (np.full((3, 2), 2.0), "outside 0..1"),
        ],
    )
    def test_the_matrix_must_fit(self, matrix, reason, paths):
        paths[2].write_bytes(pickle.dumps(matrix))
        with pytest.raises(UserError, match=reason):
            read_retrieval(*paths)

    def test_the_matrix_is_no_program(self, paths):
        paths[2].write_bytes(b"cos\nsystem\n(S'true'\ntR.")
        with pytest.raises(UserError, match=r"names os\.system"):
            read_retrieval(*paths)
