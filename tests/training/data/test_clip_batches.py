"""Batches of decoded clips: what is in them, and that they depend on seed and step alone."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from rich.console import Console

from henasy_stream.errors import UserError
from tests.training.ego4d_files import CLIPS, PHRASES, SAID, VIDEOS, Ego4dFiles, write_ego4d
from tests.training.evaluation.planted import TINY
from tests.training.videos import numbers_of
from training.batches import Batch
from training.config import EgoClipData, Recipe
from training.data.clip_batches import ClipBatches
from training.data.hand_object import PADDING
from training.data.opening import open_data, with_words
from training.distributed import CPU, Ranks
from training.recipes.henasy_base_egoclip import RECIPE

HAND = 1


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Ego4dFiles:
    return write_ego4d(tmp_path_factory.mktemp("ego4d"))


def recipe_of(files: Ego4dFiles, **changes: object) -> Recipe:
    data = EgoClipData(
        annotations=str(files.annotations),
        videos=str(files.root / "videos"),
        taxonomy=str(files.root / "taxonomy.csv"),
        boxes=str(files.root / "boxes"),
        phrases=str(files.root / "prepared"),
        workers=0,
    )
    return replace(RECIPE, model=TINY, init="", batch=6, data=replace(data, **changes))  # type: ignore[arg-type]


def opened(recipe: Recipe, *, ranks: Ranks = Ranks(), told: Console | None = None) -> ClipBatches:  # noqa: B008
    console = told or Console(quiet=True)
    data = open_data(recipe, pools=Path("none"), ranks=ranks, device=CPU, console=console)
    assert isinstance(data, ClipBatches)
    return data


def take(data: ClipBatches, count: int, first: int = 0) -> list[Batch]:
    return list(islice(data.batches(first), count))


def same(a: Batch, b: Batch) -> bool:
    tensors = ("video", "boxes", "box_noun", "nouns", "verbs", "noun_tags")
    equal = all(torch.equal(getattr(a, name).nan_to_num(-9), getattr(b, name).nan_to_num(-9)) for name in tensors)
    return equal and (a.texts, a.phrases, a.key) == (b.texts, b.phrases, b.key)


def test_anchors_and_negatives_with_all_that_losses_read(files: Ego4dFiles) -> None:
    data = opened(recipe_of(files))
    assert data.dictionary == ("apple", "hand", "knife", "chopping board")
    assert (data.num_verbs, data.steps_per_epoch, data.background) == (118, VIDEOS * CLIPS // 6, None)
    for batch in take(data, 4):
        assert batch.video.shape == (12, 4, 3, 32, 32)
        assert batch.boxes.shape == (12, 4, 4, 4)
        rows = [int(row) - 2 for row in batch.key.split("clips ")[1].split(", ")]
        assert len(set(rows[:6])) == 6
        for anchor, negative in zip(rows[:6], rows[6:], strict=True):
            assert anchor != negative
            assert anchor // CLIPS == negative // CLIPS
        for place, row in enumerate(rows):
            text = batch.texts[place]
            tags = next(set(nouns) for said, _, nouns in SAID if said == text)
            assert batch.noun_tags is not None
            assert set(batch.noun_tags[place].tolist()) - {PADDING} == tags
            assert set(batch.nouns[place].tolist()) - {PADDING} == tags - {HAND}
            assert batch.phrases[place] in PHRASES
            assert batch.phrases[place].split()[-1] in text
            mean, std = (torch.tensor(TINY.preprocess.__getattribute__(name)) for name in ("mean", "std"))
            pictures = batch.video[place].permute(0, 2, 3, 1) * std + mean
            numbers = numbers_of(pictures.round().byte().numpy())
            start = 1000 * (row // CLIPS) + round(3.5 * 4 * (row % CLIPS))
            assert numbers == sorted(numbers)
            assert start <= numbers[0]
            assert numbers[-1] < start + 8


def test_boxes_are_of_the_squashed_picture_and_only_hands_have_a_name(files: Ego4dFiles) -> None:
    batch = next(opened(recipe_of(files)).batches(0))
    hand, none, best, other = batch.boxes[0, 0]
    torch.testing.assert_close(hand, torch.tensor([0, 0, 1 / 3, 1 / 2]))
    assert none.isnan().all()
    torch.testing.assert_close(best, torch.tensor([1 / 2, 1 / 2, 1, 1]))
    torch.testing.assert_close(other, torch.tensor([0.0, 0, 1, 1]))
    assert batch.box_noun.unique(dim=0).tolist() == [[HAND, HAND, -1, -1]]


def test_a_batch_is_the_same_for_any_ranks_and_place_of_a_resume(files: Ego4dFiles) -> None:
    recipe = recipe_of(files)
    whole = take(opened(recipe), 7)  # beyond the first epoch of four
    assert same(take(opened(recipe), 1, first=5)[0], whole[5])
    assert not same(whole[0], whole[4])
    assert not same(take(opened(replace(recipe, seed=1)), 1)[0], whole[0])
    for step in (0, 5):
        parts = [take(opened(recipe, ranks=Ranks(rank=rank, size=2)), 1, first=step)[0] for rank in (0, 1)]
        for name in ("video", "boxes", "nouns", "noun_tags", "verbs"):
            halves = [getattr(part, name).chunk(2) for part in parts]  # anchors and negatives of each rank
            joined = torch.cat([half[role] for role in (0, 1) for half in halves])
            assert torch.equal(joined.nan_to_num(-9), getattr(whole[step], name).nan_to_num(-9)), name
        phrases = [[part.phrases[:3] for part in parts], [part.phrases[3:] for part in parts]]
        assert tuple(phrase for role in phrases for half in role for phrase in half) == whole[step].phrases


@pytest.mark.slow
def test_worker_processes_change_nothing(files: Ego4dFiles) -> None:
    runs = [replace(recipe_of(files, workers=workers), epochs=0, steps=5) for workers in (0, 2)]
    alone, together = (list(opened(recipe).batches(0)) for recipe in runs)
    assert len(alone) == len(together) == 5
    assert all(map(same, alone, together))


def test_lists_without_tags_take_nouns_and_verbs_from_the_words(files: Ego4dFiles) -> None:
    data = opened(recipe_of(files, annotations=str(files.pickle)))
    batch = next(data.batches(0))
    assert data.num_verbs == len({phrase.split()[0] for phrase in PHRASES})
    for text, nouns, verbs in zip(batch.texts, batch.nouns.tolist(), batch.verbs.tolist(), strict=True):
        assert (0 in nouns) == ("apple" in text)
        assert HAND not in nouns
        assert sum(verb >= 0 for verb in verbs) == sum(phrase.split()[-1] in text for phrase in PHRASES)


def test_without_phrases_the_narration_stands_for_them_and_it_is_said(files: Ego4dFiles) -> None:
    console = Console(record=True, file=io.StringIO(), width=300)
    batch = next(opened(recipe_of(files, phrases="", boxes="", negatives=False), told=console).batches(0))
    assert batch.phrases == batch.texts
    assert batch.video.shape[0] == 6
    assert batch.boxes.isnan().all()
    said = console.export_text()
    assert "no --data.phrases" in said
    assert "no boxes: the projection loss stays 0" in said
    assert "chunks of 15 s" in said


def test_weights_will_know_the_words(files: Ego4dFiles) -> None:
    recipe = recipe_of(files)
    words = with_words(recipe, opened(recipe)).model.vocabulary
    assert words.nouns == ("apple", "hand", "knife", "chopping board")
    assert not words.synthetic


def test_unreadable_clips_are_replaced_and_too_many_stop_the_run(
    files: Ego4dFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(files.root / "videos", tmp_path / "videos")
    (tmp_path / "videos" / "v1.mp4" / "0.mp4").write_bytes(b"damaged")
    recipe = recipe_of(files, videos=str(tmp_path / "videos"), max_unreadable=1.0)
    for batch in take(opened(recipe), 4):
        assert torch.isfinite(batch.video).all()
        assert len(batch.texts) == 12
    assert "v1.mp4/0.mp4" in caplog.text
    strict = opened(recipe_of(files, videos=str(tmp_path / "videos")))
    with pytest.raises(UserError, match=r"clips can't be read, more than 2 %: .*v1.mp4"):
        take(strict, 40)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: replace(r, data=replace(r.data, taxonomy="")), r"--data\.taxonomy is not set"),
        (lambda r: replace(r, data=replace(r.data, boxes="nowhere")), "nowhere: no such folder"),
        (lambda r: replace(r, data=replace(r.data, window_s=0.0)), r"hard negatives: .*--data\.no-negatives"),
        (lambda r: replace(r, batch=100), "24 clips are fewer than one batch of 100; lower --batch"),
        (
            lambda r: replace(r, model=replace(r.model, vision=replace(r.model.vision, num_frames=8))),
            "boxes are for 4 frames of a clip, the model takes 8",
        ),
    ],
)
def test_mistakes_are_named(files: Ego4dFiles, change: Callable[[Recipe], Recipe], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        opened(change(recipe_of(files)))
