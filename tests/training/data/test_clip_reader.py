from __future__ import annotations

import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from training.data.chunks import VideoStore
from training.data.clip_reader import ClipReader, places_of_frames, read_clip
from training.data.hand_object import HandObjectBoxes
from training.data.records import Clip, ClipError
from training.data.sampling import SPANS, lavila_ids, sample
from training.data.video_index import VideoIndex

FPS = 4


@pytest.fixture(scope="module")
def store(tmp_path_factory, write_video):
    """Chunks of 15 s; frames are numbered through each video.

    a: three chunks, the second two frames short and the last of 7 s.  bad: its second chunk is damaged.  stub: its
    first chunk ends after 5 s though another follows.
    """
    root = tmp_path_factory.mktemp("chunks")

    def video(name, lengths):
        for chunk, length in lengths.items():
            write_video(root / f"{name}.mp4" / f"{15 * chunk}.mp4", length, fps=FPS, first=15 * FPS * chunk)

    video("a", {0: 60, 1: 58, 2: 28})
    video("bad", {0: 60, 1: 60, 2: 60})
    video("stub", {0: 20, 1: 60})
    damaged = root / "bad.mp4" / "15.mp4"
    damaged.write_bytes(damaged.read_bytes()[:400])
    return VideoStore.open(root, ["a"], report=lambda _: None)


def clip(start, end, video="a"):
    return Clip(video=video, start=start, end=end)


@pytest.mark.parametrize(("start", "end"), [(0, 1), (3.1, 9.7), (14.3, 14.9), (16, 20), (30.2, 36.9)])
def test_frames_inside_a_chunk_follow_the_rule_at_the_files_own_rate(start, end, store, numbers):
    first, stop = SPANS["lavila"](start, end, 0, FPS, 4)
    assert numbers(read_clip(store, clip(start, end), 4)) == lavila_ids(first, stop, 4).tolist()


def test_a_clip_goes_on_in_the_next_chunk(store, numbers):
    assert numbers(read_clip(store, clip(13, 17), 4)) == [54, 58, 61, 65]


def test_a_clip_may_cross_two_borders(store, numbers):
    assert numbers(read_clip(store, clip(10, 34), 4)) == [52, 76, 99, 123]


def test_a_chunk_a_little_short_repeats_its_last_frame(store, numbers):
    assert lavila_ids(116, 120, 4).tolist() == [116, 117, 118, 118]
    assert numbers(read_clip(store, clip(29, 30), 4)) == [116, 117, 117, 117]


def test_of_a_clip_that_ends_beyond_the_video_the_existing_part_is_sampled(store, numbers):
    frames = numbers(read_clip(store, clip(35, 60), 4))
    assert frames == lavila_ids(140, 148, 4).tolist()


def test_a_clip_at_the_very_end_repeats_the_last_frame(store, numbers):
    assert numbers(read_clip(store, clip(37.4, 38), 4)) == [147, 147, 147, 147]


@pytest.mark.parametrize(("start", "end"), [(3.1, 9.7), (13, 17), (10, 34), (29, 30), (35, 60), (37.4, 38)])
def test_places_of_frames_are_those_that_are_read(start, end, store, numbers):
    indices: dict[int, VideoIndex] = {}
    places = places_of_frames(store, clip(start, end), 4, indices)
    found = [15 * FPS * place.chunk + int(indices[place.chunk].nearest(place.second)) for place in places]
    assert found == numbers(read_clip(store, clip(start, end), 4))


@pytest.mark.parametrize(
    ("video", "start", "end", "reason"),
    [
        ("a", 39.5, 41, r"a\.mp4/30\.mp4: ends at 7\.00 s"),
        ("a", 50, 51, r"a\.mp4/45\.mp4: missing; the clip starts beyond the last chunk"),
        ("absent", 0, 1, r"absent\.mp4/0\.mp4: no file of this video is there"),
        ("bad", 16, 17, r"bad\.mp4/15\.mp4: "),
        ("bad", 14, 16, r"bad\.mp4/15\.mp4: "),
        ("stub", 8, 10, r"stub\.mp4/0\.mp4: lasts 5\.00 s, the clip needs"),
    ],
)
def test_what_cannot_be_had_is_an_error_with_clip_and_file(video, start, end, reason, store):
    with pytest.raises(ClipError, match=reason) as error:
        read_clip(store, clip(start, end, video), 4)
    assert f"clip {video} {start:g}-{end:g} s" in str(error.value)


def test_a_missing_chunk_in_the_middle_is_never_papered_over(tmp_path, write_video):
    for start in (0, 15, 45):
        write_video(tmp_path / "v.mp4" / f"{start}.mp4", 60, fps=FPS)
    store = VideoStore.open(tmp_path, ["v"], report=lambda _: None)
    for start, end in ((31, 32), (29, 32)):
        with pytest.raises(ClipError, match=r"v\.mp4/30\.mp4: missing$"):
            read_clip(store, clip(start, end, "v"), 4)


def test_whole_files_and_variable_rates(tmp_path, write_video, numbers):
    write_video(tmp_path / "v.mp4", 6, times=[0, 100, 110, 120, 400, 500], time_base=Fraction(1, 100))
    store = VideoStore.open(tmp_path, ["v"], report=lambda _: None)
    # one frame a second on average: seconds 0, 1, 2, 3 are shown by frames 0, 1, 3 and 4
    assert numbers(read_clip(store, Clip(video="v", start=0, end=5), 4)) == [0, 1, 3, 4]
    assert len(read_clip(store, Clip(video="v", start=0, end=np.inf), 16)) == 16


@pytest.mark.parametrize("rule", ["epic", "egovlp"])
def test_other_rules_count_from_the_videos_start_too(rule, store, numbers):
    first, stop = SPANS[rule](16.1, 19.3, 0, FPS, 4)
    assert numbers(read_clip(store, clip(16.1, 19.3), 4, rule=rule)) == sample(rule, first, stop, 4).tolist()


def write_hand(folder, box):
    entry: dict[Any, Any] = {i: {"hand_dets": box, "obj_dets": None} for i in range(4)}
    entry["info"] = {"height": 360, "width": 640}
    (folder / "0.handobj.pkl").write_bytes(pickle.dumps({3.0: entry}))


def test_the_reader_gives_squares_and_boxes_that_fit_them(tmp_path, store):
    folder = tmp_path / "a"
    folder.mkdir()
    hand = np.array([[320.0, 0, 640, 180, 0.9]])
    write_hand(folder, hand)
    boxes = HandObjectBoxes(root=tmp_path)
    rng = np.random.default_rng(0)
    squash = ClipReader(store=store, frames=4, size=32, boxes=boxes)(clip(3, 5), rng)
    assert squash["frames"].shape == (4, 32, 32, 3)
    np.testing.assert_allclose(squash["boxes"][:, 0], [[0.5, 0, 1, 0.5]] * 4)
    assert np.isnan(squash["boxes"][:, 1:]).all()
    assert squash["boxed"]
    # the frame is 96 x 32: the crop shows its middle third, of which the hand covers the right half
    crop = ClipReader(store=store, frames=4, size=32, resize="crop", boxes=boxes)(clip(3, 5), rng)
    np.testing.assert_allclose(crop["boxes"][:, 0], [[0.5, 0, 1, 0.5]] * 4, atol=1e-6)
    absent = ClipReader(store=store, frames=4, size=32, boxes=boxes)(clip(4, 5), rng)
    assert not absent["boxed"]
    assert np.isnan(absent["boxes"]).all()


def test_a_box_outside_the_crop_is_absent(tmp_path, store):
    (tmp_path / "a").mkdir()
    hand = np.array([[0.0, 0, 100, 360, 0.9]])
    write_hand(tmp_path / "a", hand)
    reader = ClipReader(store=store, frames=4, size=32, resize="crop", boxes=HandObjectBoxes(root=tmp_path))
    assert np.isnan(reader(clip(3, 5), np.random.default_rng(0))["boxes"]).all()


def test_boxes_only_go_with_the_frames_they_are_for(tmp_path, store):
    for changed in ({"frames": 8}, {"jitter": True}, {"rule": "egovlp"}):
        with pytest.raises(ValueError, match="4 middle frames"):
            ClipReader(**{"store": store, "frames": 4, "size": 32, "boxes": HandObjectBoxes(root=tmp_path), **changed})


def test_jitter_follows_the_generator(store):
    reader = ClipReader(store=store, frames=4, size=32, jitter=True)
    one, same, other = (reader(clip(0, 14), np.random.default_rng(seed))["frames"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
