"""EPIC-KITCHENS-100 multi-instance retrieval: which sentences fit a video, which videos fit a sentence.

V videos, Q unique sentences.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.data.clip_table import ClipTable
from training.data.epic import read_retrieval
from training.evaluation.embedding import Embedder, Videos, embed_clips, reader_of
from training.evaluation.published import EK100_MIR
from training.evaluation.result import Result, about, lines_of
from training.metrics_retrieval import BothWays, retrieval_map, retrieval_ndcg
from training.preparation.data_root import annotation_files

_FILES = (
    "EPIC_100_retrieval_test.csv",
    "EPIC_100_retrieval_test_sentence.csv",
    "caption_relevancy_EPIC_100_retrieval_test.pkl",
)
Relevance = npt.NDArray[np.float64]


def score_ek100_mir(embedder: Embedder, annotations: Path, videos: Videos) -> Result:
    """MAP and nDCG in percent by the official rules, on cosine similarity.

    A video that cannot be read is left out, and with it the sentences that no video is left for.

    Args:
        embedder: the weights.
        annotations: folder with the table, the sentences and the relevancy of the test split.
        videos: where the clips are.

    Raises:
        UserError: annotations that make no sense, or no clip that can be read.
    """
    retrieval = read_retrieval(*annotation_files(annotations, *_FILES))
    clips = ClipTable.of(segment.clip for segment in retrieval.segments)
    store = videos.open(clips.videos)
    video = embed_clips(
        embedder, clips, reader_of(embedder, store, "epic"), workers=videos.workers, shards=videos.shards
    )
    text = embedder.texts([retrieval.segments[column].clip.text for column in retrieval.columns])
    kept, columns = _kept(retrieval.relevance, video.readable)
    similarity = video.vectors[kept] @ text[columns].T
    relevance = retrieval.relevance[kept][:, columns]
    scores = _named("map", retrieval_map(similarity, relevance)) | _named("ndcg", retrieval_ndcg(similarity, relevance))
    lost = len(columns) - int(columns.sum())
    left_out = [f"{lost} sentences left out: none of their videos can be read"] if lost else []
    return Result(
        task="EK-100 MIR",
        scores=scores,
        published=EK100_MIR,
        files=retrieval.checksums,
        unit="videos",
        total=len(clips),
        scored=int(kept.sum()),
        clips=len(clips),
        unreadable=lines_of(video.unreadable),
        notes=[f"{int(columns.sum()):,} of {len(columns):,} sentences", *left_out, *_why_nan(relevance)],
        about=about(embedder, store, score="cosine"),
    )


def _kept(relevance: Relevance, readable: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """(V,) videos and (Q,) sentences in the score."""
    fits = relevance == 1
    return readable, ~(fits.any(0) & ~fits[readable].any(0))


def _named(name: str, score: BothWays) -> dict[str, float]:
    return {f"{name}_{way}": 100 * value for way, value in score._asdict().items()}


def _why_nan(relevance: Relevance) -> list[str]:
    """A sentence for each score that does not exist by the official rule."""
    notes = []
    for queries, matrix in (("videos", relevance), ("sentences", relevance.T)):
        for score, missing, none in (
            ("mAP", "nothing of relevance 1", (matrix != 1).all(1)),
            ("nDCG", "nothing relevant", (matrix == 0).all(1)),
        ):
            if none.any():
                notes.append(f"{score} of {queries} is NaN by the official rule: {none.sum()} of them have {missing}")
    return notes
