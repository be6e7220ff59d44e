from __future__ import annotations

import numpy as np
import pytest

from henasy_stream.sources.world import World
from training.data.chunks import VideoStore
from training.data.own import OwnBoxes
from training.data.records import Clip
from training.preparation.boxes import choose, detect_boxes, middle_times
from training.preparation.detectors import Detections, TableDetector

SIZE = (64, 96)  # as the fixture `example` has it


def found(*rows: tuple[list[float], float, bool]) -> Detections:
    return Detections.of([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])


class Fake:
    """Says where a frame lies in its video by one hand's box, and counts."""

    name = "fake/1"

    def __init__(self) -> None:
        self.seen: list[tuple[str, float]] = []

    def detect(self, image, video, time):
        assert image.dtype == np.uint8
        assert image.shape == (*SIZE, 3)
        self.seen.append((video, time))
        return found(([time / 10, 0, 1, 1], 0.9, True))


@pytest.fixture
def store(example):
    return VideoStore.open(example / "videos", ["world_0", "world_1", "world_2"], report=lambda line: None)


def test_two_hands_and_the_objects_that_they_touch_come_first():
    detections = found(
        ([0.1, 0.1, 0.2, 0.2], 0.5, True),
        ([0.7, 0.7, 0.9, 0.9], 0.9, True),
        ([0.0, 0.0, 0.1, 0.1], 0.3, True),
        ([0.4, 0.4, 0.5, 0.5], 0.99, False),
        ([0.6, 0.6, 0.72, 0.72], 0.4, False),
        ([0.15, 0.3, 0.3, 0.4], 0.8, False),
    )
    boxes, scores = choose(detections)
    np.testing.assert_allclose(scores, [0.9, 0.5, 0.4, 0.99])
    np.testing.assert_allclose(boxes[2], [0.6, 0.6, 0.72, 0.72])
    np.testing.assert_allclose(boxes[0], [0.7, 0.7, 0.9, 0.9])


def test_what_is_absent_is_nan_and_boxes_stay_in_the_picture():
    boxes, scores = choose(found(([-0.5, 0.2, 1.5, 0.4], 1.0, False), ([0.3, 0.3, 0.3, 0.9], 1.0, True)))
    assert np.isnan(boxes[[0, 1, 3]]).all()
    np.testing.assert_allclose(boxes[2], [0, 0.2, 1, 0.4], atol=1e-6)
    assert scores.tolist() == [0, 0, 1, 0]
    assert np.isnan(choose(found())[0]).all()


def test_each_clip_is_looked_at_in_its_four_frames_and_read_back(store, tmp_path):
    clips = [Clip(video="world_1", start=1.0, end=5.0), Clip(video="world_0", start=2.0, end=2.4)]
    fake = Fake()
    report = detect_boxes(clips, store, fake, tmp_path)
    assert (report.clips, report.kept, report.hands, report.objects, report.unreadable) == (2, 0, 8, 0, {})
    assert fake.seen == [("world_0", t) for t in middle_times(clips[1], 4)] + [
        ("world_1", t) for t in (1.5, 2.5, 3.5, 4.5)
    ]
    boxes = OwnBoxes(root=tmp_path)
    read = boxes(clips[0])
    assert read is not None
    assert read.shape == (4, 4, 4)
    np.testing.assert_allclose(read[:, 0, 0], [0.15, 0.25, 0.35, 0.45])
    assert boxes(Clip(video="world_1", start=1.0, end=4.0)) is None
    assert boxes(Clip(video="elsewhere", start=1.0, end=4.0)) is None


def test_finished_videos_are_kept_until_clips_or_detector_change(store, tmp_path):
    clips = [Clip(video=f"world_{k}", start=1.0, end=5.0) for k in range(3)]
    detect_boxes(clips, store, Fake(), tmp_path)
    (tmp_path / "world_2.npz").unlink()
    fake = Fake()
    assert detect_boxes(clips, store, fake, tmp_path).kept == 2
    assert {video for video, _ in fake.seen} == {"world_2"}
    other = Fake()
    other.name = "fake/2"
    assert detect_boxes(clips, store, other, tmp_path).kept == 0
    more = [*clips, Clip(video="world_0", start=2.0, end=3.0)]
    assert detect_boxes(more, store, other, tmp_path).kept == 2


def test_clips_that_cannot_be_read_are_counted_by_file(store, tmp_path):
    clips = [
        Clip(video="world_0", start=1.0, end=2.0),
        Clip(video="world_0", start=90.0, end=92.0),
        Clip(video="gone", start=0, end=1),
    ]
    report = detect_boxes(clips, store, Fake(), tmp_path)
    assert report.clips == 1
    assert sorted(path.rsplit("/", 1)[-1] for path in report.unreadable) == ["gone.mp4", "world_0.mp4"]
    assert not (tmp_path / "gone.npz").exists()


def test_the_worlds_true_boxes_arrive_at_the_frames_of_the_clips(example, store, tmp_path):
    clip = Clip(video="world_0", start=1.0, end=5.0)
    detect_boxes([clip], store, TableDetector(example / "boxes.csv"), tmp_path)
    boxes = OwnBoxes(root=tmp_path)(clip)
    assert boxes is not None
    world = World(0, "train")
    height, width = SIZE
    for frame, time in enumerate(middle_times(clip, 4)):
        truth = world.truth(float(time), SIZE)
        true = truth.boxes / (width, height, width, height)
        for place in np.flatnonzero(np.isfinite(boxes[frame, :, 0])):
            kind = true[truth.is_hand == (place < 2)]
            assert np.nanmin(np.abs(kind - boxes[frame, place]).max(1)) < 0.05
        assert np.isfinite(boxes[frame, :2, 0]).sum() == min(2, np.isfinite(true[truth.is_hand][:, 0]).sum())
