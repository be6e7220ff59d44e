"""The data that a recipe names, opened for one rank."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from henasy_stream.errors import UserError
from training.batches import TrainingData
from training.config import ClipData, EgoClipData, OwnData, Recipe, WorldData
from training.data.chunks import VideoStore
from training.data.clip_batches import BACKGROUND, ClipBatches, WithChoice
from training.data.clip_labels import ClipLabels, EgoClipLabels, OwnLabels, PreparedPhrases
from training.data.clip_reader import ClipReader
from training.data.clip_table import ClipTable
from training.data.egoclip import read_egoclip
from training.data.hand_object import BOX_SHAPE, Boxes, HandObjectBoxes, read_taxonomy
from training.data.lavila_pickles import read_lavila
from training.data.loader import ClipLoader
from training.data.negatives import SceneNegatives
from training.data.own import read_own
from training.data.records import Clip
from training.data.world_batches import WorldBatches
from training.data.world_pool import WorldPool, open_pool
from training.distributed import Ranks, first_rank_first
from training.evaluation.world import score_world
from training.progress import progress_bar

Report = Callable[[str], None]


def open_data(recipe: Recipe, *, pools: Path, ranks: Ranks, device: torch.device, console: Console) -> TrainingData:
    """Opens the data of `recipe.data`, rendering world clips that are not there yet.

    Args:
        recipe: of the run.
        pools: folder of rendered clips.
        ranks: whose part of each batch is read.
        device: where batches go.
        console: told of what was found and of what takes long.

    Raises:
        UserError: files that are missing or make no sense, or too few clips.
    """
    tell = functools.partial(console.print, markup=False, highlight=False)
    if isinstance(recipe.data, EgoClipData):
        return _open_egoclip(recipe, recipe.data, ranks, device, tell)
    if isinstance(recipe.data, OwnData):
        return _open_own(recipe, recipe.data, ranks, device, tell)
    return _open_world(recipe, recipe.data, pools, ranks, device, console)


def with_words(recipe: Recipe, data: TrainingData) -> Recipe:
    """The recipe whose model knows the words of decoded clips; of other data the recipe has them already."""
    if not isinstance(data, ClipBatches):
        return recipe
    return replace(recipe, model=replace(recipe.model, vocabulary=data.vocabulary))


def _open_egoclip(recipe: Recipe, data: EgoClipData, ranks: Ranks, device: torch.device, tell: Report) -> ClipBatches:
    for name in ("annotations", "videos", "taxonomy"):
        if not getattr(data, name):
            raise UserError(f"--data.{name} is not set; {recipe.name} needs it, see docs/reproduce.md")
    annotations = Path(data.annotations)
    read = read_lavila if annotations.suffix.lower() in (".pkl", ".pickle") else read_egoclip
    taxonomy = read_taxonomy(Path(data.taxonomy))
    table, skips = read(annotations)
    for line in skips.lines():
        tell(line)
    highest = int(table.nouns.values.max(initial=-1))  # a tag without a word would end the run when its clip comes up
    if highest >= len(taxonomy):
        raise UserError(f"{annotations}: noun {highest} is tagged; {data.taxonomy} has 0..{len(taxonomy) - 1} only")
    prepared = PreparedPhrases.read(Path(data.phrases), table) if data.phrases else None
    if prepared is None and recipe.losses.get("verb_entities"):
        tell("no --data.phrases: narrations stand for their verb phrases")
    boxes = _boxes_of(Path(data.boxes)) if data.boxes else None
    store = VideoStore.open(
        Path(data.videos), table.videos, layout=data.layout, chunk_s=data.chunk_s or None, report=tell
    )
    labels = EgoClipLabels(table=table, taxonomy=taxonomy, prepared=prepared)
    return _clip_batches(recipe, data, labels, store, boxes, annotations.name, ranks, device, tell)


def _boxes_of(root: Path) -> HandObjectBoxes:
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; --data.boxes is the one with <video>/<chunk>.handobj.pkl")
    return HandObjectBoxes(root=root)


def _open_own(recipe: Recipe, data: OwnData, ranks: Ranks, device: torch.device, tell: Report) -> ClipBatches:
    if not data.root:
        raise UserError("--data is not set; give the folder that prepare.py own has made")
    own = read_own(Path(data.root))
    labels = OwnLabels(own=own, rows=own.rows("train"))
    return _clip_batches(recipe, data, labels, own.store(tell), own.boxes, "clips.csv", ranks, device, tell)


def _clip_batches(
    recipe: Recipe,
    data: ClipData,
    labels: ClipLabels,
    store: VideoStore,
    boxes: Callable[[Clip], Boxes | None] | None,
    source: str,
    ranks: Ranks,
    device: torch.device,
    tell: Report,
) -> ClipBatches:
    model = recipe.model
    if boxes is not None and model.vision.num_frames != BOX_SHAPE[0]:
        raise UserError(
            f"boxes are for {BOX_SHAPE[0]} frames of a clip, the model takes {model.vision.num_frames}; "
            f"set --model.vision.num-frames {BOX_SHAPE[0]} or train without boxes"
        )
    if boxes is None and recipe.losses.get("projection"):
        tell("no boxes: the projection loss stays 0")
    reader = ClipReader(
        store=store,
        frames=model.vision.num_frames,
        size=model.vision.image_size,
        resize=model.preprocess.resize,
        jitter=boxes is None,
        boxes=boxes,
    )
    loader = ClipLoader(
        table=labels.table,
        read=WithChoice(reader),
        batch=recipe.batch,
        seed=recipe.seed,
        negatives=_negatives(labels.table, data, tell) if data.negatives else None,
        workers=data.workers,
        rank=ranks.rank,
        ranks=ranks.size,
        max_unreadable=data.max_unreadable,
    )
    return ClipBatches(
        loader=loader,
        labels=labels,
        config=model,
        source=source,
        steps=recipe.total_steps(len(loader)),
        background=BACKGROUND if recipe.losses.get("presence") else None,
        device=device,
    )


def _negatives(table: ClipTable, data: ClipData, tell: Report) -> SceneNegatives:
    try:
        negatives = SceneNegatives(table, data.window_s)
    except ValueError as error:
        raise UserError(f"hard negatives: {error}; train without them: --data.no-negatives") from None
    tell(negatives.note)
    return negatives


def _open_world(
    recipe: Recipe, data: WorldData, pools: Path, ranks: Ranks, device: torch.device, console: Console
) -> WorldBatches:
    with first_rank_first(ranks):
        pool = _pool(recipe, data, pools, "train", data.clips, data.lead, console)
        held_out = _pool(recipe, data, pools, "validation", data.val_clips, 0, console)
    return WorldBatches(
        pool=pool,
        config=recipe.model,
        batch=recipe.batch,
        seed=recipe.seed,
        data=data,
        ranks=ranks,
        device=device,
        judge=lambda model: score_world(model, held_out, seed=0).headline(),
    )


def _pool(
    recipe: Recipe, data: WorldData, root: Path, split: str, clips: int, lead: int, console: Console
) -> WorldPool:
    with progress_bar(console) as progress:
        task = progress.add_task(f"clips ({split})", total=clips, note="")
        pool = open_pool(
            root,
            recipe.model,
            split=split,
            clips=clips,
            seed=data.seed,
            cut=data.cut * clips // data.clips,
            lead=lead,
            progress=lambda n: progress.advance(task, n),
        )
        progress.update(task, completed=clips)
    return pool
