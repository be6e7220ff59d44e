"""Are answers to queries right: things and actions of the synthetic world, asked for while its streams run.

What is asked for: every noun of the world, bare and with an article; things that the world does not have; descriptions
that name no label; every verb alone, and with the noun that is acted on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from henasy_stream.backends.base import Backend
from henasy_stream.config import StreamConfig
from henasy_stream.sources.world import NOUNS, VERBS, WorldTruth, WorldView, world_from_uri
from henasy_stream.stream.engine import Engine
from henasy_stream.types import Frame, Perception, QueryAnswer
from training.evaluation.stream import RECALL_IOU, box_iou
from training.evaluation.track_recording import steady

Float64Array = npt.NDArray[np.float64]

UNKNOWN = ("zebra", "car", "tree", "guitar", "laptop", "dog")
"""What the world never shows and no narration of it names."""
DESCRIPTIONS = {
    "the metal spoon": ("spoon",),
    "a sharp knife": ("knife",),
    "something to cut with": ("knife", "scissors"),
    "something to drink from": ("cup", "bottle"),
    "something to eat": ("apple",),
    "something to read": ("book",),
}
"""Texts that are no label, and the nouns that they mean."""
_THIRD = {"pick up": "picks up", "put down": "puts down", "push": "pushes", "pull": "pulls", "turn": "turns",
          "shake": "shakes", "wipe": "wipes", "tap": "taps"}  # fmt: skip
_NO_CAPTIONS = ("nothing",)
_SIZE = 360
_BINS = 10
_LARGEST_LOGIT = 14.0  # of what a float32 score can still tell from 1


@dataclass(frozen=True, kw_only=True)
class Query:
    """A text, the kind of row that it counts for, and what it means: noun indices, or a verb and perhaps a noun."""

    text: str
    group: str
    nouns: frozenset[int] = frozenset()
    verb: int | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One query at one hop: what was answered and what is true.

    iou: of the first answering track's box with the nearest true box; NaN where nothing is there.
    """

    query: Query
    answer: QueryAnswer
    true: bool
    iou: float

    @property
    def logit(self) -> float:
        """Of the score, as far as its precision reaches."""
        score = self.answer.score
        if score <= 0.0 or score >= 1.0:
            return math.copysign(_LARGEST_LOGIT, score - 0.5)
        return float(np.clip(math.log(score / (1.0 - score)), -_LARGEST_LOGIT, _LARGEST_LOGIT))


def all_queries() -> tuple[Query, ...]:
    """Everything that is asked for."""
    found = [Query(text=noun, group="noun", nouns=frozenset({i})) for i, noun in enumerate(NOUNS)]
    found += [Query(text=f"the {noun}", group="with article", nouns=frozenset({i})) for i, noun in enumerate(NOUNS)]
    found += [Query(text=text, group="unknown thing") for text in UNKNOWN]
    found += [
        Query(text=text, group="description", nouns=frozenset(NOUNS.index(noun) for noun in nouns))
        for text, nouns in DESCRIPTIONS.items()
    ]
    for i, verb in enumerate(VERBS):
        found.append(Query(text=_THIRD[verb], group="verb", verb=i))
        found += [
            Query(text=f"{_THIRD[verb]} the {noun}", group="verb and noun", verb=i, nouns=frozenset({j}))
            for j, noun in enumerate(NOUNS)
        ]
    return tuple(found)


def ask(backend: Backend, *, split: str, seeds: Sequence[int], seconds: float) -> list[Row]:
    """Runs streams of the world and asks for everything at every hop.

    A verb with a noun is asked for while something is done with that noun: whether the verb is right is the question.
    Windows whose middle lies between two actions show no action.
    """
    queries = all_queries()
    rows: list[Row] = []
    for seed in seeds:
        view = world_from_uri(f"world?seed={seed}&size={_SIZE}x{_SIZE}&split={split}")
        engine = Engine(backend, StreamConfig(), queries=[query.text for query in queries], phrases=_NO_CAPTIONS)
        for perception in _hops(engine, view, seconds):
            rows += _rows(view, perception, queries)
    return rows


def _hops(engine: Engine, view: WorldView, seconds: float) -> Iterator[Perception]:
    state = engine.initial_state()
    for index, stamp in enumerate(steady(seconds).tolist()):
        image = view.world.render(stamp / 1e9, view.upright_size)[0]
        frame = Frame(
            image=image, stamp_ns=stamp, index=index, source=view.uri, clock="media", stamp_source="synthetic"
        )
        state, perception = engine.step(state, frame)
        if perception.fresh:
            yield perception


def _rows(view: WorldView, perception: Perception, queries: Sequence[Query]) -> Iterator[Row]:
    truth = view.truth(perception.stamp_ns)
    middle = view.truth((perception.window_start_ns + perception.window_end_ns) // 2)
    boxes = {track.id: track.box_xyxy for track in perception.tracks}
    for query, answer in zip(queries, perception.queries, strict=True):
        if query.verb is None:
            there = _boxes(truth, query.nouns)
            first = boxes[answer.track_ids[0]] if answer.track_ids else None
            iou = max((box_iou(first, box) for box in there), default=0.0) if first is not None else 0.0
            yield Row(query=query, answer=answer, true=bool(there), iou=iou if there else math.nan)
        elif not query.nouns or middle.noun in query.nouns:
            done = not middle.in_transition and middle.verb == query.verb
            yield Row(query=query, answer=answer, true=done, iou=math.nan)


def _boxes(truth: WorldTruth, nouns: frozenset[int]) -> list[tuple[float, float, float, float]]:
    return [
        tuple(box.tolist())
        for box, thing, hand in zip(truth.boxes, truth.objects, truth.is_hand, strict=True)
        if not hand and thing.noun_index in nouns and np.isfinite(box).all()
    ]


def score_answers(rows: Sequence[Row]) -> dict[str, float]:
    """Of rows of one group: how often "present" is right, and how well scores are calibrated.

    true: share of the rows in which it is there.  f1, precision, recall: of "present", NaN where undefined.
    false_alarms: answers "present" among the rows where it is absent.  calibration_error: expected calibration error
    over ten equal bins of the score.  iou: of the first track's box where the thing is there (0 where it was not
    found); tracked: share of these with 0.35 or more.
    """
    true = np.array([row.true for row in rows], bool)
    said = np.array([row.answer.present for row in rows], bool)
    score = np.array([row.answer.score for row in rows], np.float64)
    iou = np.array([row.iou for row in rows])[true]
    hits = int((true & said).sum())
    precision = hits / said.sum() if said.any() else math.nan
    recall = hits / true.sum() if true.any() else math.nan
    return {
        "rows": float(len(rows)),
        "true": float(true.mean()),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(2 * hits / (said.sum() + true.sum())) if said.any() or true.any() else math.nan,
        "false_alarms": float(said[~true].mean()) if (~true).any() else math.nan,
        "calibration_error": calibration_error(score, true),
        "iou": float(iou.mean()) if len(iou) else math.nan,
        "tracked": float((iou >= RECALL_IOU).mean()) if len(iou) and not np.isnan(iou).any() else math.nan,
    }


def calibration_error(score: Float64Array, true: npt.NDArray[np.bool_]) -> float:
    """Mean over rows of |how often it is true - the score|, both averaged over the bin of the score."""
    bins = np.minimum((score * _BINS).astype(int), _BINS - 1)
    gaps = [abs(score[bins == b].sum() - true[bins == b].sum()) for b in range(_BINS)]
    return float(sum(gaps) / len(score))


def score_queries(backend: Backend, *, seeds: Sequence[int], seconds: float) -> dict[str, dict[str, float]]:
    """Scores by group of queries, on streams of split "heldout"."""
    rows = ask(backend, split="heldout", seeds=seeds, seconds=seconds)
    groups = dict.fromkeys(row.query.group for row in rows)
    return {group: score_answers([row for row in rows if row.query.group == group]) for group in groups}
