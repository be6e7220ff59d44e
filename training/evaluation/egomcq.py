"""EgoMCQ: which of five clips does a narration tell of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from training.data.clip_table import ClipTable
from training.data.egomcq import Question, check_kinds, read_egomcq
from training.data.records import Clip
from training.evaluation.embedding import Embedder, Videos, embed_clips, reader_of
from training.evaluation.published import EGOMCQ
from training.evaluation.result import Result, about, checksums, lines_of
from training.metrics import multiple_choice_accuracy

Score = Literal["cosine", "dot"]


def distinct_clips(questions: Sequence[Question]) -> tuple[ClipTable, npt.NDArray[np.int64]]:
    """The clips that are asked for, each once and ordered by video, and (Q, 5) the places of the questions' choices."""
    asked: dict[tuple[str, float, float], Clip] = {}
    for question in questions:
        for choice in question.choices:
            asked.setdefault((choice.video, choice.start, choice.end), choice)
    place = {key: i for i, key in enumerate(sorted(asked))}
    places = [[place[c.video, c.start, c.end] for c in question.choices] for question in questions]
    return ClipTable.of(asked[key] for key in place), np.array(places)


def score_egomcq(embedder: Embedder, annotations: Path, videos: Videos, *, score: Score = "cosine") -> Result:
    """Percent right among the questions with choices from five videos ("inter") and from one ("intra").

    A question with a choice that cannot be read is left out.

    Args:
        embedder: the weights.
        annotations: `egomcq.json`.
        videos: where the clips are.
        score: "cosine" as EgoVLP and HelpingHands rank, or "dot", LaViLa's product without normalisation.

    Raises:
        UserError: annotations that make no sense, or no clip that can be read.
    """
    questions = read_egomcq(annotations)
    clips, places = distinct_clips(questions)
    store = videos.open(clips.videos)
    unit = score == "cosine"
    video = embed_clips(
        embedder, clips, reader_of(embedder, store), workers=videos.workers, shards=videos.shards, unit=unit
    )
    text = embedder.texts([question.query for question in questions], unit=unit)
    similarity = np.einsum("qj,qcj->qc", text, video.vectors[places])
    kept = video.readable[places].all(1)
    answers, kinds = (np.array(v)[kept] for v in ([q.answer for q in questions], [q.kind for q in questions]))
    found = multiple_choice_accuracy(similarity[kept], answers, kinds)
    notes = [
        "questions whose choices come from one video: "
        + ", ".join(f"{kind} {100 * share:.1f} %" for kind, share in check_kinds(questions).items())
    ]
    notes += [f"{kind}: NaN, there is no such question" for kind in ("inter", "intra") if kind not in found]
    return Result(
        task="EgoMCQ",
        scores={kind: found.get(kind, math.nan) for kind in ("inter", "intra")},
        published=EGOMCQ,
        files=checksums(annotations),
        unit="questions",
        total=len(questions),
        scored=int(kept.sum()),
        clips=len(clips),
        unreadable=lines_of(video.unreadable),
        notes=notes,
        about=about(embedder, store, score=score),
    )
