"""Who touches what: what the node publishes, and simpler answers, against the world's truth.

Every hop of every stream asks: which pairs hold now?  An answer is right when both its tracks show the two things of a
true pair (box IoU as in `evaluate.py stream`, a hand for a hand).  A true pair one of whose things no track shows can't
be found; recall counts it all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from henasy_stream.backends.base import Backend
from henasy_stream.sources.world import world_from_uri
from henasy_stream.stream.relation_evidence import Float64Array
from henasy_stream.stream.relations import CONTACTS
from training.evaluation.relation_recording import SIZE, RelationHop, record_relations

PREDICATES = (CONTACTS, "on")
Candidates = list[tuple[tuple[int, int], float, bool]]
"""(subject, object) as track ids, a score to rank by, and whether the answer says that it holds."""
Answer = Callable[[RelationHop, str], Candidates]


@dataclass(frozen=True, kw_only=True)
class RelationScores:
    """All in 0..1 but the counts.

    recall_tracked: of the true pairs whose things are both shown by a track.  f1: of precision and recall.  ap: average
    precision of all candidates by their scores.  mean_score: of what is said; the precision, if scores are calibrated.
    true, said: pairs, over all hops.
    """

    precision: float
    recall: float
    recall_tracked: float
    f1: float
    ap: float
    mean_score: float
    true: int
    said: int

    def as_dict(self) -> dict[str, float]:
        """For JSON and tables."""
        return asdict(self)


def ours(hop: RelationHop, predicate: str) -> Candidates:
    """What the node says, and the score of what it doesn't say; it speaks of contacts only."""
    if predicate != CONTACTS:
        return []
    said = {(r.subject_id, r.object_id) for r in hop.published}
    rows = np.nonzero(hop.book.ids[:, 0])[0]
    pairs = [(int(hop.book.ids[row, 0]), int(hop.book.ids[row, 1])) for row in rows]
    return [(pair, float(hop.book.score[row]), pair in said) for pair, row in zip(pairs, rows, strict=True)]


def nearest(hop: RelationHop, predicate: str) -> Candidates:
    """The thing whose box is nearest to the subject's box, however far; of boxes that overlap, by their middles."""
    found: Candidates = []
    for subject, others in _subjects(hop, predicate):
        distances = [_distance(hop.sight.boxes[subject], hop.sight.boxes[k]) for k in others]
        best = int(np.argmin(distances)) if others else -1
        found += [
            (_ids(hop, subject, k), -d, n == best) for n, (k, d) in enumerate(zip(others, distances, strict=True))
        ]
    return found


def overlapping(hop: RelationHop, predicate: str) -> Candidates:
    """Every pair whose boxes overlap; of two things the lower one lies on the other."""
    boxes, found = hop.sight.boxes, list[tuple[tuple[int, int], float, bool]]()
    for subject, others in _subjects(hop, predicate):
        for k in others:
            low, high = np.maximum(boxes[subject, :2], boxes[k, :2]), np.minimum(boxes[subject, 2:], boxes[k, 2:])
            shared = float(np.maximum(high - low, 0).prod())
            upright = predicate == CONTACTS or boxes[subject, 3] > boxes[k, 3]
            found.append((_ids(hop, subject, k), shared if upright else -1.0, shared > 0 and bool(upright)))
    return found


ANSWERS: dict[str, Answer] = {"ours": ours, "nearest": nearest, "every overlapping pair": overlapping}


def score_answer(hops: Sequence[RelationHop], answer: Answer, predicate: str) -> RelationScores:
    """Scores of one answer for one predicate over all hops."""
    scores: list[float] = []
    right: list[bool] = []
    said: list[bool] = []
    true = tracked = 0
    for hop in hops:
        owners = set(hop.owner.values())
        true += len(hop.truth[predicate])
        tracked += sum(a in owners and b in owners for a, b in hop.truth[predicate])
        for (subject, thing), score, holds in answer(hop, predicate):
            scores.append(score)
            right.append((hop.owner.get(subject), hop.owner.get(thing)) in hop.truth[predicate])
            said.append(holds)
    marks, told, ranks = np.array(right, bool), np.array(said, bool), np.array(scores)
    hits = int((marks & told).sum())
    precision, recall = hits / max(int(told.sum()), 1), hits / max(true, 1)
    return RelationScores(
        precision=precision,
        recall=recall,
        recall_tracked=hits / max(tracked, 1),
        f1=2 * precision * recall / max(precision + recall, 1e-9),
        ap=average_precision(ranks, marks, true),
        mean_score=float(ranks[told].mean()) if told.any() else 0.0,
        true=true,
        said=int(told.sum()),
    )


def average_precision(scores: Float64Array, right: np.ndarray[tuple[int], np.dtype[np.bool_]], true: int) -> float:
    """Mean over the `true` pairs of the precision among the candidates down to each; 0 for those that are none.

    Of equal scores the wrong ones come first.
    """
    order = np.lexsort((right, -scores))
    hits = right[order]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / max(true, 1))


def score_relations(backend: Backend, *, seeds: Sequence[int], seconds: float) -> dict[str, dict[str, float]]:
    """Scores by predicate, kind of stream and answer: plain streams, hard ones, and with the true boxes from outside.

    Args:
        backend: executes the network.
        seeds: of the streams.
        seconds: length of a stream.
    """
    kinds = {
        "plain": streams(backend, seeds, seconds),
        "hard": streams(backend, seeds, seconds, hard=1),
        "true boxes": streams(backend, seeds, seconds, outside=True),
    }
    return {
        f"{predicate}, {kind}: {name}": score_answer(hops, answer, predicate).as_dict()
        for predicate in PREDICATES
        for kind, hops in kinds.items()
        for name, answer in ANSWERS.items()
        if predicate == CONTACTS or answer is not ours
    }


def streams(
    backend: Backend,
    seeds: Sequence[int],
    seconds: float,
    *,
    split: str = "heldout",
    hard: int = 0,
    outside: bool = False,
) -> list[RelationHop]:
    """The hops of several streams."""
    uris = [f"world?seed={seed}&size={SIZE}x{SIZE}&fps=2&split={split}&hard={hard}" for seed in seeds]
    return [hop for uri in uris for hop in record_relations(backend, world_from_uri(uri), seconds, outside=outside)]


def _subjects(hop: RelationHop, predicate: str) -> list[tuple[int, list[int]]]:
    """Rows of the sight that may be a subject, each with the things that may be its object."""
    hand = hop.sight.hand
    things = np.nonzero(~hand)[0].tolist()
    chosen = np.nonzero(hand)[0].tolist() if predicate == CONTACTS else things
    return [(subject, [k for k in things if k != subject]) for subject in chosen]


def _ids(hop: RelationHop, subject: int, thing: int) -> tuple[int, int]:
    return int(hop.sight.ids[subject]), int(hop.sight.ids[thing])


def _distance(first: Float64Array, second: Float64Array) -> float:
    """Between two boxes; of overlapping ones a little of the distance of their middles, so that they can be ranked."""
    gap = np.maximum(np.maximum(first[:2] - second[2:], second[:2] - first[2:]), 0.0)
    middles = (first[:2] + first[2:] - second[:2] - second[2:]) / 2
    return float(np.linalg.norm(gap) + 1e-3 * np.linalg.norm(middles))
