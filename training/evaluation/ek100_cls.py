"""EPIC-KITCHENS-100 action recognition without training on it: the class whose narrations are nearest.

N clips, A actions (verb-noun pairs that occur).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.special import softmax

from training.data.clip_table import ClipTable
from training.data.epic import class_texts, read_segments
from training.evaluation.embedding import Embedder, Videos, embed_clips, reader_of
from training.evaluation.published import EK100_CLS
from training.evaluation.result import Result, about, checksums, lines_of
from training.evaluation.templates import Template, class_vectors
from training.metrics_classification import marginalise, top_k_accuracy
from training.preparation.data_root import annotation_files

_FILES = ("EPIC_100_train.csv", "EPIC_100_validation.csv")


def score_ek100_cls(embedder: Embedder, annotations: Path, videos: Videos, *, template: Template = "plain") -> Result:
    """Top-1 and top-5 of actions, verbs and nouns over the validation split, in percent.

    An action's vector is the mean over the unique narrations of its verb and noun, train and validation.  Verbs and
    nouns are the sums of the actions' probabilities, a softmax of cosines over the weights' temperature.

    Args:
        embedder: the weights.
        annotations: folder with the two tables.
        videos: where the clips are.
        template: what narrations are filled into.

    Raises:
        UserError: annotations that make no sense, or no clip that can be read.
    """
    paths = annotation_files(annotations, *_FILES)
    train, validation = (read_segments(path) for path in paths)
    texts = class_texts((*train, *validation))
    place = {pair: action for action, pair in enumerate(texts)}
    clips = ClipTable.of(segment.clip for segment in validation)
    store = videos.open(clips.videos)
    video = embed_clips(
        embedder, clips, reader_of(embedder, store, "epic"), workers=videos.workers, shards=videos.shards
    )
    cosine = video.vectors[video.readable] @ class_vectors(embedder, list(texts.values()), template).T
    verbs, nouns = marginalise(softmax(cosine / embedder.config.temperature, axis=1), np.array(list(texts)))
    truth = np.array([(place[s.verb, s.noun], s.verb, s.noun) for s in validation])[video.readable]
    scores: dict[str, float] = {}
    for column, (name, logits) in enumerate((("action", cosine), ("verb", verbs), ("noun", nouns))):
        top1, top5 = top_k_accuracy(logits, truth[:, column])
        scores |= {f"{name}_top1": top1, f"{name}_top5": top5}
    return Result(
        task="EK-100 CLS",
        scores=scores,
        published=EK100_CLS,
        files=checksums(*paths),
        unit="clips",
        total=len(clips),
        scored=len(truth),
        clips=len(clips),
        unreadable=lines_of(video.unreadable),
        notes=[f"{len(texts):,} actions; {sum(map(len, texts.values())):,} narrations"],
        about=about(embedder, store, template=template, temperature=embedder.config.temperature),
    )
