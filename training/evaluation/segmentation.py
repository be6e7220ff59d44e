"""Captions as action segmentation: what is said at every moment of a stream of the world, and how often it changes.

Two timelines are scored.  Online: the caption as it stood at each moment, which is late by nature, since a window looks
back.  Final: the closed segments with their start and end stamps, as a reader of the record has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from henasy_stream.backends.base import Backend
from henasy_stream.config import StreamConfig
from henasy_stream.sources.world import NOUNS, VERBS, WorldView, phrase, phrases, world_from_uri
from henasy_stream.stream.captions import CaptionBook
from henasy_stream.stream.pairs import BEST, PairBank
from henasy_stream.stream.phrases import VerbNounPairs
from henasy_stream.stream.texts import Texts, prepare_texts
from henasy_stream.stream.word_lists import EVERYDAY, load_words
from henasy_stream.types import Caption, FloatArray
from training.evaluation.track_recording import SIZE, Hop, record, steady
from training.metrics_segmentation import Hits, LabelArray, edit_score, flicker, frame_accuracy, hits, runs

FPS = 10.0
OVERLAPS = (0.1, 0.25, 0.5)
NO_ACTION, NOTHING_SAID = -1, -2
KINDS = {"plain": "", "hard": "&hard=1"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """How captions are made: `ours` but for one thing.

    best: so many verbs and nouns of a bank of pairs are combined; None: the bank is the world's own phrases.
    """

    hold_s: float
    grounded: bool = True
    best: int | None = None


def variants(config: StreamConfig) -> dict[str, Variant]:
    """Ours, without any smoothing or hysteresis, without the weight of what is seen, and from a bank as large as
    EPIC's, whole and by pairs of the best.
    """
    hold_s = config.caption_hold_s
    return {
        "ours": Variant(hold_s=hold_s),
        "every window for itself": Variant(hold_s=0.0),
        "nouns not grounded": Variant(hold_s=hold_s, grounded=False),
        "97 x 300, best 20 x 20": Variant(hold_s=hold_s, best=BEST),
        "97 x 300, best 5 x 5": Variant(hold_s=hold_s, best=5),
        "97 x 300, all pairs": Variant(hold_s=hold_s, best=300),
    }


def large_bank() -> VerbNounPairs:
    """As many verbs and nouns as EPIC-KITCHENS-100 has: the world's, and everyday words that it has no picture of."""
    verbs = [phrase(verb, 0).replace(f"the {NOUNS[0]}", "the {}") for verb in range(len(VERBS))]
    others = [f"{verb} the {{}}" for verb in load_words(EVERYDAY, "verbs") if verb not in VERBS]
    nouns = dict.fromkeys((*NOUNS, *load_words(EVERYDAY, "nouns")))
    return VerbNounPairs(verbs=(*verbs, *others[: 97 - len(verbs)]), nouns=tuple(nouns)[:300])


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """What captions say of a stream.  online: (N,) labels at FPS.  final: the same by the closed segments."""

    online: LabelArray
    final: LabelArray


def score_segmentation(backend: Backend, *, seeds: Sequence[int], seconds: float) -> dict[str, dict[str, float]]:
    """Scores by kind of stream and variant, see `scores`.

    Args:
        backend: executes the network, once a stream.
        seeds: of the streams.
        seconds: length of a stream.
    """
    config = StreamConfig()
    own, large = prepare_texts(backend, phrases()), prepare_texts(backend, large_bank())
    found: dict[str, dict[str, float]] = {}
    for kind, options in KINDS.items():
        views = [world_from_uri(f"world?seed={seed}&size={SIZE}x{SIZE}{options}") for seed in seeds]
        streams = [record(backend, view, steady(seconds), config) for view in views]
        truths = [truth(view, seconds) for view in views]
        for name, variant in variants(config).items():
            texts = own if variant.best is None else large
            told = [tell(hops, texts, variant, seconds) for hops in streams]
            found[f"{kind}: {name}"] = scores(told, truths, seconds)
    return found


def truth(view: WorldView, seconds: float) -> LabelArray:
    """(N,) the phrase of what is done at each moment; NO_ACTION between two actions."""
    labels = np.full(round(seconds * FPS), NO_ACTION, np.int64)
    for action in view.world.actions_until(seconds):
        labels[_frame(action.start_s) : _frame(action.end_s)] = action.verb * len(NOUNS) + action.noun
    return labels


def tell(hops: Sequence[Hop], texts: Texts, variant: Variant, seconds: float) -> Told:
    """The captions of a recorded stream."""
    bank, online = texts.bank, np.full(round(seconds * FPS), NOTHING_SAID, np.int64)
    book, closed = CaptionBook.empty(len(bank.texts)), list[Caption]()
    index = {text: label for label, text in enumerate(phrases())}
    labels = [index.setdefault(text, len(index)) for text in bank.texts]  # what the world does not do comes after it
    for hop in hops:
        start_ns, stamp_ns = int(hop.stamps[0]), int(hop.stamps[-1])
        grounded = _grounded(hop, len(texts.vocabulary.labels)) if variant.grounded else None
        by = texts.vocabulary.temperature
        if isinstance(bank, PairBank):
            scored = bank.log_probabilities(hop.video, by, grounded, variant.best or BEST)
        else:
            scored = bank.log_probabilities(hop.video, by, grounded)
        book, ended = book.update(
            scored, bank.texts, window_start_ns=start_ns, stamp_ns=stamp_ns, hold_s=variant.hold_s
        )
        closed += ended
        online[_frame(stamp_ns / 1e9) :] = labels[book.phrase]
    closed += book.close(bank.texts)[1]
    final = np.full_like(online, NOTHING_SAID)
    for caption in closed:
        final[_frame(caption.start_ns / 1e9) : _frame(caption.end_ns / 1e9)] = index[caption.text]
    return Told(online=online, final=final)


def scores(told: Sequence[Told], truths: Sequence[LabelArray], seconds: float) -> dict[str, float]:
    """Accuracy and edit score as means over the streams, F1 of all segments together, flicker a minute of the online
    timeline.  Frames between two actions count in no accuracy, as no phrase says "nothing".
    """
    found: dict[str, float] = {}
    timelines: Mapping[str, list[LabelArray]] = {
        "online": [one.online for one in told],
        "final": [one.final for one in told],
    }
    for name, labels in timelines.items():
        pairs = list(zip(labels, truths, strict=True))
        segments = [(runs(said, (NOTHING_SAID,)), runs(true, (NO_ACTION,))) for said, true in pairs]
        found[f"{name}_accuracy"] = float(np.mean([frame_accuracy(*pair, (NO_ACTION,)) for pair in pairs]))
        found[f"{name}_edit"] = float(np.mean([edit_score(*pair) for pair in segments]))
        for overlap in OVERLAPS:
            found[f"{name}_f1_{round(100 * overlap)}"] = sum((hits(*pair, overlap) for pair in segments), Hits()).f1
    flickers = [flicker(said, true, seconds) for said, true in zip(timelines["online"], truths, strict=True)]
    return found | {"flicker_a_minute": float(np.mean(flickers))}


def _grounded(hop: Hop, labels: int) -> FloatArray:
    found = hop.detections
    seen: FloatArray = (found.presence[:, None] * found.labels).max(0, initial=0.0).astype(np.float32)
    return seen if len(found) else np.zeros(labels, np.float32)


def _frame(time_s: float) -> int:
    return int(np.ceil(time_s * FPS - 1e-6))
