from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from henasy_stream.errors import UserError
from training.data.chunks import VideoStore
from training.data.clip_reader import ClipReader
from training.data.clip_table import ClipTable
from training.data.loader import MIN_READS, ClipLoader
from training.data.negatives import SceneNegatives
from training.data.ordered import read_in_order
from training.data.records import Clip, ClipError

FPS = 4


@dataclass(frozen=True)
class FakeRead:
    """Gives the clip's start and a random number; refuses every clip of the videos named."""

    bad: tuple[str, ...] = ()
    broken_boxes: bool = False

    def __call__(self, clip, rng):
        if clip.video in self.bad:
            raise ClipError(clip, f"{clip.video}.mp4", "cut off")
        if self.broken_boxes:
            raise UserError("0.handobj.pkl: damaged")
        return {"start": np.array(clip.start), "drawn": rng.random(3)}


def clips(count, videos=4):
    return ClipTable.of(
        Clip(video=f"v{i % videos}", start=i, end=i + 1, time=i, texts=(f"text {i}", f"rephrased {i}"))
        for i in range(count)
    )


def everything(loader, epoch=0, first=0):
    return [(b.rows, b.texts, {k: v.numpy().tolist() for k, v in b.arrays.items()}) for b in loader.epoch(epoch, first)]


@pytest.fixture(scope="module")
def videos(tmp_path_factory, write_video):
    """Two videos in chunks of 15 s: v1's second chunk is damaged, v2's is missing."""
    root = tmp_path_factory.mktemp("videos")
    for video in ("v0", "v1", "v2"):
        for chunk in range(3):
            write_video(root / f"{video}.mp4" / f"{15 * chunk}.mp4", 59 + (chunk < 2), fps=FPS, first=60 * chunk)
    (root / "v1.mp4" / "15.mp4").write_bytes(b"damaged")
    (root / "v2.mp4" / "15.mp4").unlink()
    return root


def real_table():
    return ClipTable.of(
        Clip(video=f"v{i % 3}", start=2.0 * (i // 3), end=2.0 * (i // 3) + 2, time=2.0 * (i // 3), texts=(f"text {i}",))
        for i in range(60)
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_of_real_clips_do_not_depend_on_the_number_of_workers(workers, videos):
    table = real_table()
    store = VideoStore.open(videos, table.videos, report=lambda _: None)

    def run(count):
        loader = ClipLoader(
            table=table,
            read=ClipReader(store=store, frames=4, size=16, jitter=True),
            batch=6,
            seed=3,
            negatives=SceneNegatives(table),
            workers=count,
            max_unreadable=1,
        )
        return list(loader.epoch(1)), loader

    (alone, one), (together, other) = run(0), run(workers)
    assert len(alone) == len(together) == 10
    for a, b in zip(alone, together, strict=True):
        assert (a.rows, a.texts) == (b.rows, b.texts)
        assert torch.equal(a.arrays["frames"], b.arrays["frames"])
        assert [str(error) for error in a.unreadable] == [str(error) for error in b.unreadable]
        assert a.arrays["frames"].shape == (12, 4, 16, 16, 3)
    assert one.unreadable == other.unreadable
    assert {path.removeprefix(f"{videos}/") for path in one.unreadable} == {"v1.mp4/15.mp4", "v2.mp4/15.mp4"}
    assert one.reads == other.reads


def test_every_clip_once_an_epoch_and_another_order_in_the_next():
    loader = ClipLoader(table=clips(12), read=FakeRead(), batch=4)
    first, second = ([row for rows, _, _ in everything(loader, epoch) for row in rows] for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second
    assert len(loader) == 3
    assert [start for _, _, arrays in everything(loader) for start in arrays["start"]] == first


def test_an_epoch_goes_on_where_it_was_left():
    loader = ClipLoader(table=clips(20), read=FakeRead(), batch=4, negatives=SceneNegatives(clips(20)))
    assert everything(loader, 2, first=3) == everything(loader, 2)[3:]


def test_ranks_share_a_batch_without_changing_it():
    def run(rank, ranks):
        table = clips(24)
        return ClipLoader(
            table=table, read=FakeRead(), batch=6, negatives=SceneNegatives(table), rank=rank, ranks=ranks
        )

    whole = everything(run(0, 1))
    parts = [everything(run(rank, 3)) for rank in range(3)]
    for step, (rows, _, arrays) in enumerate(whole):
        anchors = [row for part in parts for row in part[step][0][:2]]
        negatives = [row for part in parts for row in part[step][0][2:]]
        assert list(rows) == anchors + negatives
        drawn = [
            value for half in (slice(0, 2), slice(2, 4)) for part in parts for value in part[step][2]["drawn"][half]
        ]
        assert arrays["drawn"] == drawn


def test_anchors_come_first_then_their_negatives():
    table = clips(40)
    for rows, texts, arrays in everything(
        ClipLoader(table=table, read=FakeRead(), batch=8, negatives=SceneNegatives(table))
    ):
        for anchor, negative in zip(rows[:8], rows[8:], strict=True):
            assert anchor != negative
            assert table[anchor].video == table[negative].video
        assert [int(text.split()[1]) for text in texts] == list(rows) == arrays["start"]


def test_a_narration_is_drawn_where_there_are_several():
    texts = [
        text for _, texts, _ in everything(ClipLoader(table=clips(100), read=FakeRead(), batch=10)) for text in texts
    ]
    assert 25 < sum(text.startswith("rephrased") for text in texts) < 75


def test_seeds_differ():
    one, other = (everything(ClipLoader(table=clips(12), read=FakeRead(), batch=4, seed=seed)) for seed in (0, 1))
    assert one != other


def test_an_unreadable_clip_is_named_counted_and_replaced(caplog):
    loader = ClipLoader(table=clips(40), read=FakeRead(bad=("v1",)), batch=8, max_unreadable=1)
    with caplog.at_level(logging.WARNING):
        batches = everything(loader)
    assert all(len(rows) == 8 and not any(row % 4 == 1 for row in rows) for rows, _, _ in batches)
    assert loader.unreadable["v1.mp4"] >= 10
    assert loader.reads == 40 + loader.unreadable["v1.mp4"]
    assert len(caplog.messages) == loader.unreadable["v1.mp4"]
    assert "clip v1 1-2 s can't be read: v1.mp4: cut off; another one takes its place" in caplog.messages


def test_above_a_share_of_unreadable_clips_the_run_stops_and_says_why():
    loader = ClipLoader(table=clips(400), read=FakeRead(bad=("v1",)), batch=40, max_unreadable=0.1)
    with pytest.raises(UserError, match=r"of \d+ clips can't be read, more than 10 %: v1\.mp4 \(\d+\); mend"):
        everything(loader)
    assert loader.reads >= MIN_READS
    assert loader.reads < 400


def test_few_unreadable_clips_do_not_stop_it():
    loader = ClipLoader(table=clips(400, videos=100), read=FakeRead(bad=("v1",)), batch=40)
    assert len(everything(loader)) == 10
    assert 0 < loader.unreadable["v1.mp4"] <= 0.02 * loader.reads


def test_where_nothing_can_be_read_it_stops_at_once():
    loader = ClipLoader(table=clips(40), read=FakeRead(bad=("v0", "v1", "v2", "v3")), batch=4)
    with pytest.raises(UserError, match=r"20 clips drawn one after the other can't be read; the last: clip v\d"):
        everything(loader)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_annotation_stops_the_run_with_its_own_message(workers):
    loader = ClipLoader(table=clips(8), read=FakeRead(broken_boxes=True), batch=4, workers=workers)
    with pytest.raises(UserError, match=r"^0\.handobj\.pkl: damaged$"):
        everything(loader)


def test_a_scene_without_a_readable_negative_gives_another_pair():
    table = ClipTable.of(
        [Clip(video="v0", start=0, end=1, time=0)]
        + [Clip(video="v9", start=i, end=i + 1, time=i) for i in range(5)]
        + [Clip(video="v1", start=i, end=i + 1, time=i) for i in range(6)]
    )
    loader = ClipLoader(
        table=table, read=FakeRead(bad=("v9",)), batch=12, negatives=SceneNegatives(table), max_unreadable=1
    )
    for rows, _, _ in everything(loader):
        assert all(table[row].video != "v9" for row in rows)


@pytest.mark.parametrize(
    ("batch", "ranks", "reason"), [(8, 3, "can't be divided among 3 ranks"), (16, 1, "fewer than one batch of 16")]
)
def test_sizes_that_do_not_fit(batch, ranks, reason):
    with pytest.raises(UserError, match=reason):
        ClipLoader(table=clips(12), read=FakeRead(), batch=batch, ranks=ranks)


@pytest.mark.parametrize("workers", [0, 2])
def test_in_order_nothing_is_replaced(workers):
    batches = list(read_in_order(clips(10), FakeRead(bad=("v1",)), batch=4, workers=workers))
    assert [batch.rows for batch in batches] == [(0, 2, 3), (4, 6, 7), (8,)]
    assert [batch.arrays["start"].tolist() for batch in batches] == [[0, 2, 3], [4, 6, 7], [8]]
    assert [[row for row, _ in batch.unreadable] for batch in batches] == [[1], [5], [9]]
    assert str(batches[0].unreadable[0][1]) == "clip v1 1-2 s can't be read: v1.mp4: cut off"


def test_some_clips_in_a_given_order():
    batches = list(read_in_order(clips(10), FakeRead(bad=("v0",)), batch=2, rows=[7, 2, 8]))
    assert [batch.rows for batch in batches] == [(7, 2), ()]
    assert batches[1].arrays == {}
