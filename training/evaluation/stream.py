"""Scores what a node published about the synthetic world against the world's truth, in source pixels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from henasy_stream.errors import UserError
from henasy_stream.sources.world import HAND, NOUNS, WorldTruth, WorldView, phrases, world_from_uri

RECALL_IOU = 0.35
LIVE_STATES = ("new", "tracked")
Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class StreamScores:
    """All in 0..1 but the counts.

    narrated_iou: mean over the hops inside an action of the IoU between the narrated object's true box and the box of
    the track that carries its name (0 when there is none); narrated_tracked: hops in which it reaches 0.35.
    caption_*: windows whose caption says what happens in their middle; `inside`: those within one action.
    object_recall: visible objects and hands that some track covers at IoU 0.35; named_recall: by a track of the right
    name.  precision: live tracks that cover something at IoU 0.35.
    """

    narrated_iou: float
    narrated_tracked: float
    caption_verb: float
    caption_noun: float
    caption_both: float
    caption_both_inside: float
    object_recall: float
    named_recall: float
    precision: float
    hops: int
    windows: int
    tracks: int

    def as_dict(self) -> dict[str, float]:
        """For JSON and tables."""
        return asdict(self)


def box_iou(a: Box, b: Box) -> float:
    """IoU of two boxes x0, y0, x1, y1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    overlap = width * height
    return overlap / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap)


def read_record(path: Path) -> Iterator[dict[str, Any]]:
    """Messages of a JSONL record, in order; a last line that was cut off is left out.

    Raises:
        UserError: the file is missing or a line is not a message.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give a record written by live --record") from None
    for number, line in enumerate(lines, 1):
        try:
            message = json.loads(line)
        except ValueError:
            if number == len(lines):
                return
            raise UserError(f"{path}, line {number}: not JSON; give a record written by live --record") from None
        if not isinstance(message, dict) or "topic" not in message:
            raise UserError(f"{path}, line {number}: not a message; give a record written by live --record")
        yield message


class _Tally:
    def __init__(self, view: WorldView) -> None:
        self.view = view
        self.pairs = {text: divmod(i, len(NOUNS)) for i, text in enumerate(phrases())}
        self.narrated: list[float] = []
        self.found: list[bool] = []
        self.named: list[bool] = []
        self.precise: list[bool] = []
        self.captions: list[tuple[bool, bool, bool]] = []
        self.ids: set[int] = set()

    def tracks(self, message: dict[str, Any]) -> None:
        truth = self.view.truth(message["stamp_ns"])
        live = [t for t in message["tracks"] if t["state"] in LIVE_STATES and t["query"] is None]
        self.ids |= {t["id"] for t in live}
        shape = len(live), len(truth.objects)
        names = [HAND if hand else NOUNS[o.noun_index] for o, hand in zip(truth.objects, truth.is_hand, strict=True)]
        covers = np.array([[box_iou(_box(t), tuple(box)) for box in truth.boxes] for t in live]).reshape(shape)
        visible = np.asarray(np.all(np.isfinite(truth.boxes), axis=1))
        covers = np.where(visible, covers, 0.0)
        right_name = np.array([[t["label"] == name for name in names] for t in live], bool).reshape(shape)
        for i in np.flatnonzero(visible):
            self.found.append(bool((covers[:, i] >= RECALL_IOU).any()))
            self.named.append(bool((covers[:, i] * right_name[:, i] >= RECALL_IOU).any()))
        self.precise += [bool((row >= RECALL_IOU).any()) for row in covers]
        if not truth.in_transition and visible[truth.target]:
            called = [(t["label_score"] * t["score"], i) for i, t in enumerate(live) if t["label"] == NOUNS[truth.noun]]
            self.narrated.append(float(covers[max(called)[1], truth.target]) if called else 0.0)

    def caption(self, message: dict[str, Any]) -> None:
        if message["final"]:
            return
        start, end = message["window_start_ns"], message["window_end_ns"]
        truth = self.view.truth((start + end) // 2)
        if truth.in_transition:
            return
        verb, noun = self.pairs.get(message["text"], (-1, -1))
        inside = _inside(truth, start, end)
        self.captions.append((verb == truth.verb, noun == truth.noun, inside))


def _box(track: dict[str, Any]) -> Box:
    x0, y0, x1, y1 = track["box_xyxy"]
    return x0, y0, x1, y1


def _inside(truth: WorldTruth, start_ns: int, end_ns: int) -> bool:
    return truth.action_start_s <= start_ns / 1e9 and end_ns / 1e9 <= truth.action_end_s


def score_stream(path: Path) -> StreamScores:
    """Score one record of `live --source world?… --record FILE`.

    Raises:
        UserError: the record is not of the synthetic world, mixes sources, or holds no window.
    """
    tally: _Tally | None = None
    for message in read_record(path):
        kind = message["topic"].rpartition("/")[2]
        if kind not in ("tracks", "caption"):
            continue
        if tally is None:
            tally = _Tally(world_from_uri(message["source"]))
        elif message["source"] != tally.view.uri:
            raise UserError(f"{path}: holds {tally.view.uri} and {message['source']}; score one source at a time")
        (tally.tracks if kind == "tracks" else tally.caption)(message)
    if tally is None or not tally.captions:
        raise UserError(f"{path}: holds no window of the world; record with live --source 'world?seed=7' --record FILE")
    verb, noun, inside = (np.array(column) for column in zip(*tally.captions, strict=True))
    both = verb & noun
    return StreamScores(
        narrated_iou=_mean(tally.narrated),
        narrated_tracked=_mean([iou >= RECALL_IOU for iou in tally.narrated]),
        caption_verb=float(verb.mean()),
        caption_noun=float(noun.mean()),
        caption_both=float(both.mean()),
        caption_both_inside=_mean(both[inside].tolist()),
        object_recall=_mean(tally.found),
        named_recall=_mean(tally.named),
        precision=_mean(tally.precise),
        hops=len(tally.narrated),
        windows=len(tally.captions),
        tracks=len(tally.ids),
    )


def _mean(values: list[float] | list[bool]) -> float:
    return float(np.mean(values)) if values else float("nan")
