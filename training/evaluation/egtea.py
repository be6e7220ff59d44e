"""EGTEA Gaze+ action recognition without training on it, by LaViLa's protocol."""

from __future__ import annotations

from pathlib import Path

from training.data.clip_table import ClipTable
from training.data.dense_reader import CROPS, DenseReader
from training.data.egtea import read_actions, read_split
from training.evaluation.embedding import Embedder, Videos, embed_clips
from training.evaluation.published import EGTEA
from training.evaluation.result import Result, about, checksums, lines_of
from training.evaluation.templates import Template, class_vectors
from training.metrics_classification import mean_class_accuracy, top_k_accuracy
from training.preparation.data_root import annotation_files

_FILES = ("action_idx.txt", "test_split1.txt")


def score_egtea(embedder: Embedder, annotations: Path, videos: Videos, *, template: Template = "plain") -> Result:
    """Top-1 and mean-class accuracy over the test clips of split 1, in percent.

    Ten clips of a video, every second frame, times three square crops; a class scores the highest cosine of all views.

    Args:
        embedder: the weights, loaded with as many frames as a clip is to have (16 in the protocol).
        annotations: folder with the actions and the split.
        videos: `cropped_clips`.
        template: what the actions' names are filled into.

    Raises:
        UserError: annotations that make no sense, or no video that can be read.
    """
    actions_path, split_path = annotation_files(annotations, *_FILES)
    actions = read_actions(actions_path)
    labelled = read_split(split_path, actions)
    clips = ClipTable.of(one.clip for one in labelled)
    store = videos.open(clips.videos)
    vision = embedder.config.vision
    reader = DenseReader(store=store, size=vision.image_size, frames=vision.num_frames)
    video = embed_clips(embedder, clips, reader, workers=videos.workers, shards=videos.shards, views=reader.views)
    classes = class_vectors(embedder, [(name,) for name in actions.values()], template)
    logits = (video.vectors[video.readable] @ classes.T).max(1)
    truth = [one.action for one, readable in zip(labelled, video.readable, strict=True) if readable]
    (top1,) = top_k_accuracy(logits, truth, (1,))
    return Result(
        task="EGTEA",
        scores={"top1": top1, "mean_class": mean_class_accuracy(logits, truth)},
        published=EGTEA,
        files=checksums(actions_path, split_path),
        unit="clips",
        total=len(clips),
        scored=len(truth),
        clips=len(clips),
        unreadable=lines_of(video.unreadable),
        notes=[
            f"{len(actions)} classes; {reader.clips} clips x {CROPS} crops of {reader.frames} frames, stride "
            f"{reader.stride}, maximum over views"
        ],
        about=about(embedder, store, template=template),
    )
