from __future__ import annotations

import math

import pytest

from henasy_stream.errors import UserError
from training.data.chunks import VideoStore


@pytest.fixture(scope="module")
def roots(tmp_path_factory, write_video):
    """One folder in each layout; the frame rate is low, the length of the chunks is the real one."""
    base = tmp_path_factory.mktemp("layouts")
    for start, frames in ((0, 600), (300, 600), (600, 37)):
        write_video(base / "lavila" / "a.mp4" / f"{start}.mp4", frames, fps=2)
    write_video(base / "lavila" / "b.mp4" / "0.mp4", 50, fps=2)
    for start, frames in ((0, 450), (15, 449), (30, 450), (45, 20)):
        write_video(base / "avion" / "P01" / "P01_01.MP4" / f"{start}.MP4", frames, fps=30)
    for index, frames in ((0, 600), (1, 599), (2, 10)):
        write_video(base / "egovlp" / "a" / f"{index}.mp4", frames, fps=1)
    write_video(base / "whole" / "a.mp4", 30)
    write_video(base / "whole" / "c.MP4", 30)
    write_video(base / "epic" / "P01" / "videos" / "P01_01.MP4", 30, fps=50)
    return base


CASES = {
    "lavila": (["a", "b"], "lavila", 300, "layout lavila, chunks of 300 s named by start second, 96 x 32, 2.000 fps"),
    "avion": (["P01/P01_01"], "avion", 15, "layout avion, chunks of 15 s named by start second, 96 x 32, 30.000 fps"),
    "egovlp": (["a"], "egovlp", 600, "layout egovlp, chunks of 600 s named by index, 96 x 32, 1.000 fps"),
    "whole": (["a", "c"], "whole", math.inf, "whole files, 96 x 32, 10.000 fps"),
    "epic": (["P01/P01_01"], "whole", math.inf, "whole files, 96 x 32, 50.000 fps"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_layout_is_known_by_its_names_and_reported(case, roots):
    videos, name, seconds, found = CASES[case]
    told: list[str] = []
    store = VideoStore.open(roots / case, videos, report=told.append)
    assert (store.layout.name, store.layout.chunk_s) == (name, seconds)
    assert told == [f"{roots / case}: {found}; {len(videos)} of {len(videos)} videos looked for are there"]
    assert store.note == told[0]


def test_chunks_are_numbered_alike_in_every_layout(roots):
    names = {"lavila": ["0.mp4", "300.mp4", "600.mp4"], "egovlp": ["0.mp4", "1.mp4", "2.mp4"], "whole": ["a.mp4"]}
    for case, expected in names.items():
        chunks = VideoStore.open(roots / case, ["a"], report=lambda _: None).chunks("a")
        assert list(chunks) == list(range(len(expected)))
        assert [path.name for path in chunks.values()] == expected


def test_an_explicit_layout_is_taken(roots):
    store = VideoStore.open(roots / "lavila", ["b"], layout="avion", report=lambda _: None)
    assert store.layout.chunk_s == 15
    store = VideoStore.open(roots / "egovlp", ["a"], layout="egovlp", chunk_s=600, report=lambda _: None)
    assert store.layout.chunk_s == 600


def test_chunks_of_another_length_than_the_layouts_are_an_error(tmp_path, write_video):
    for index in range(3):
        write_video(tmp_path / "a" / f"{index}.mp4", 600, fps=1)
    with pytest.raises(UserError, match=r"chunks of 300 s named by index\? .*0\.mp4 lasts 600\.0 s and another"):
        VideoStore.open(tmp_path, ["a"], layout="egovlp", chunk_s=300, report=print)


def test_an_explicit_layout_must_fit_files_or_folders(roots):
    with pytest.raises(UserError, match="a is there as whole files, which is not the layout lavila"):
        VideoStore.open(roots / "whole", ["a"], layout="lavila", report=print)


def test_a_folder_without_the_videos_is_an_error_that_says_what_was_looked_for(roots, tmp_path):
    with pytest.raises(UserError, match=r"none of the 1 videos looked for is there; expected x\.mp4/<second>\.mp4"):
        VideoStore.open(roots / "whole", ["x"], report=print)
    with pytest.raises(UserError, match="no such folder"):
        VideoStore.open(tmp_path / "nowhere", ["x"], report=print)


def test_different_layouts_in_one_folder_need_a_choice(tmp_path, write_video):
    write_video(tmp_path / "a.mp4", 5)
    write_video(tmp_path / "b.mp4" / "0.mp4", 5)
    with pytest.raises(UserError, match=r"different ways: 1 as whole files \(e\.g\. a\), 1 as <video>\.mp4/"):
        VideoStore.open(tmp_path, ["a", "b"], report=print)


def test_a_damaged_first_chunk_does_not_hide_the_layout(tmp_path, write_video):
    for start in (0, 15, 30):
        write_video(tmp_path / "a.mp4" / f"{start}.mp4", 150)
    (tmp_path / "a.mp4" / "0.mp4").write_bytes(b"damaged")
    assert VideoStore.open(tmp_path, ["a"], report=lambda _: None).layout.name == "avion"
    write_video(tmp_path / "a.mp4" / "0.mp4", 40)  # cut off
    assert VideoStore.open(tmp_path, ["a"], report=lambda _: None).layout.name == "avion"
    for start in (0, 15, 30):
        (tmp_path / "a.mp4" / f"{start}.mp4").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"layout avion, .*\? .*0\.mp4: "):
        VideoStore.open(tmp_path, ["a"], report=print)


def test_most_videos_may_be_absent(roots):
    store = VideoStore.open(roots / "lavila", ["a", *(f"absent{i}" for i in range(5))], report=lambda _: None)
    assert store.note.endswith("1 of 6 videos looked for are there")
