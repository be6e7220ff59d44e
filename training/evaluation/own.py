"""One's own held-out videos: five-way choice, verbs and nouns, and grounding where the folder has boxes.

N held-out clips, A actions (pairs of a verb and a noun that are told of).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import softmax

from henasy_stream.errors import UserError
from training.data.clip_table import ClipTable
from training.data.hand_object import BOX_SHAPE
from training.data.own import OwnData, read_own
from training.data.records import Clip
from training.evaluation.embedding import Embedder, Vectors, embed_clips, reader_of
from training.evaluation.five_way import CHOICES, questions
from training.evaluation.own_boxes import ground_boxes
from training.evaluation.result import Result, about, checksums, lines_of
from training.evaluation.slots import distrust, mean_ious
from training.evaluation.templates import class_vectors
from training.metrics import multiple_choice_accuracy
from training.metrics_classification import marginalise


def score_own(embedder: Embedder, folder: Path, *, workers: int = 0, seed: int = 0) -> Result:
    """Score the videos that `prepare.py own` holds out, in percent.

    inter, intra: share of narrations whose clip is chosen among five, the others from other held-out videos, or the
    nearest in time of the same video; none of the others tells of the same verb and noun.  verb_top1, noun_top1: the
    most probable verb and noun, when the classes are the pairs of verb and noun that are told of in the folder, each
    the mean over its narrations.  Grounding: see `own_boxes`.

    Args:
        embedder: the weights.
        folder: made by `prepare.py own`.
        workers: processes that decode.
        seed: draws the other clips of `inter`, and the random entity.

    Raises:
        UserError: no such folder, nothing held out, or no clip that can be read.
    """
    own = read_own(folder)
    rows = own.rows("heldout")
    if not len(rows):
        raise UserError(
            f"{folder / 'clips.csv'}: no video is held out; set the column split, or run prepare.py own anew"
        )
    clips = own.clips.select(rows)
    store = own.store(report=lambda line: None)
    video = embed_clips(embedder, clips, reader_of(embedder, store), workers=workers)
    kept = np.flatnonzero(video.readable)
    told = [clips[int(row)] for row in kept]
    vectors = video.vectors[kept]
    scores, notes = _choices(embedder, told, vectors, seed)
    for more, words in (_classes(embedder, own, told, vectors), _grounding(embedder, own, clips, workers, seed)):
        scores |= more
        notes += words
    return Result(
        task="own",
        scores=scores,
        files=checksums(*_files(own, clips)),
        unit="held-out clips",
        total=len(clips),
        scored=len(kept),
        clips=len(clips),
        unreadable=lines_of(video.unreadable),
        notes=notes,
        about=about(embedder, store, folder=folder.name, seed=seed),
    )


def _files(own: OwnData, clips: ClipTable) -> list[Path]:
    """What the scores rest on."""
    boxes = [own.root / "boxes" / f"{video}.npz" for video in clips.videos]
    return [own.root / name for name in ("clips.csv", "nouns.txt", "verbs.txt", "own.json")] + [
        path for path in boxes if path.is_file()
    ]


def _choices(
    embedder: Embedder, clips: Sequence[Clip], video: Vectors, seed: int
) -> tuple[dict[str, float], list[str]]:
    rng = np.random.default_rng(seed)
    asked = {kind: questions(clips, kind, rng) for kind in ("inter", "intra")}
    text = embedder.texts([clip.text for clip in clips])
    scores, notes = {}, []
    for code, (kind, places) in enumerate(asked.items(), 1):
        if not len(places):
            where = "other held-out videos" if kind == "inter" else "its own video"
            scores[kind] = math.nan
            notes.append(f"{kind}: NaN, no clip has four others of {where} that tell of something else")
            continue
        similarity = np.einsum("qj,qcj->qc", text[places[:, -1]], video[places])
        right = np.full(len(places), CHOICES - 1)
        scores[kind] = multiple_choice_accuracy(similarity, right, np.full(len(places), code))[kind]
        notes.append(f"{kind}: {len(places)} questions, chance {100 / CHOICES:g} %")
    return scores, notes


def _classes(
    embedder: Embedder, own: OwnData, clips: Sequence[Clip], video: Vectors
) -> tuple[dict[str, float], list[str]]:
    narrations: dict[tuple[int, int], set[str]] = defaultdict(set)
    for clip in own.clips:
        if clip.verbs and clip.nouns:
            narrations[clip.verbs[0], clip.nouns[0]].add(clip.text)
    named = [place for place, clip in enumerate(clips) if clip.verbs and clip.nouns]
    if not named:
        nothing = "verb_top1 and noun_top1: NaN, no held-out clip has both a verb and a noun"
        return {"verb_top1": math.nan, "noun_top1": math.nan}, [nothing]
    pairs = sorted(narrations)
    # Counted anew: to a verb or noun without an action `marginalise` gives what the official evaluation gives it.
    verbs, verb_of = np.unique([verb for verb, _ in pairs], return_inverse=True)
    nouns, noun_of = np.unique([noun for _, noun in pairs], return_inverse=True)
    cosine = video[named] @ class_vectors(embedder, [sorted(narrations[pair]) for pair in pairs]).T
    by_verb, by_noun = marginalise(
        softmax(cosine / embedder.config.temperature, axis=1), np.stack([verb_of, noun_of], 1)
    )
    scores = {}
    train = own.clips.select(own.rows("train"))
    for name, classes, found in (("verb", verbs, by_verb), ("noun", nouns, by_noun)):
        truth = [set(getattr(clips[place], f"{name}s")) for place in named]
        answers = classes[found.argmax(1)]
        scores[f"{name}_top1"] = _percent([answer in true for answer, true in zip(answers, truth, strict=True)])
        counts = Counter(value for clip in train for value in getattr(clip, f"{name}s")[:1])
        if counts:
            (usual, _), *_ = counts.most_common(1)
            scores[f"trivial_{name}"] = _percent([usual in true for true in truth])
    told = f"{len(pairs)} pairs of {len(verbs)} verbs and {len(nouns)} nouns; {len(named)} held-out clips have both"
    return scores, [f"{told}; trivial: always the one most frequent in training"]


def _grounding(
    embedder: Embedder, own: OwnData, clips: ClipTable, workers: int, seed: int
) -> tuple[dict[str, float], list[str]]:
    """Nothing, and the reason, where the folder or the weights don't allow it."""
    boxes, frames = own.boxes, embedder.config.vision.num_frames
    if boxes is None:
        return {}, ["no grounding: the folder was prepared without boxes"]
    if embedder.kind == "lavila":
        return {}, ["no grounding: a dual encoder has no entities"]
    if frames != BOX_SHAPE[0]:
        return {}, [f"no grounding: the boxes are for {BOX_SHAPE[0]} frames of a clip, the weights take {frames}"]
    found = ground_boxes(embedder, own, clips, boxes, workers=workers, seed=seed)
    scores = mean_ious(found.objects)
    hands = [row.chosen for row in found.hands]
    scores["hand_miou"] = 100 * float(np.mean(hands)) if hands else math.nan
    pictures = f"{len(found.objects)} pictures with objects, {len(hands)} with hands"
    note = f"grounding: {pictures}, of {found.clips} clips with boxes; of several objects the one that fits best counts"
    return scores, [note, *(distrust(scores) if found.objects else [])]


def _percent(right: Sequence[bool]) -> float:
    return 100 * float(np.mean(right))
