"""From the node's settings to a model and an engine.  Free of ROS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from henasy_stream.config import StreamConfig
from henasy_stream.errors import UserError
from henasy_stream.loading import Model, load
from henasy_stream.stream.engine import Engine
from henasy_stream.stream.phrases import VerbNounPairs, load_phrases
from henasy_stream.stream.word_lists import load_words
from henasy_stream_ros.parameters import Settings

Phrases = tuple[str, ...] | VerbNounPairs | None

MOST_PHRASES = 20_000
"""Captions that may be asked for at run time."""


def open_model(settings: Settings, report: Callable[[str], None]) -> Model:
    """The weights, with what executes them.

    Raises:
        UserError: as `henasy_stream.load`.
    """
    backend: Any = settings.backend
    model = load(settings.weights, backend, report=report)
    if settings.resize:
        model = replace(model, spec=replace(model.spec, resize=settings.resize))
    return model


def phrases_of(settings: Settings) -> Phrases:
    """The captions that files name, None for the weights' own.

    Raises:
        UserError: a file cannot be read or holds nothing.
    """
    if settings.verbs_file:
        verbs, nouns = (Path(name).expanduser() for name in (settings.verbs_file, settings.nouns_file))
        return VerbNounPairs(verbs=load_words(verbs, "verbs"), nouns=load_words(nouns, "nouns"))
    return load_phrases(Path(settings.phrases_file).expanduser()) if settings.phrases_file else None


def open_engine(model: Model, settings: Settings, queries: Sequence[str], phrases: Phrases) -> Engine:
    """The engine; a large bank of captions is embedded while it already runs.

    Raises:
        UserError: the settings do not fit the weights.
    """
    config = StreamConfig(
        span_s=settings.span_s or None,
        rotate=settings.rotate,
        presence=settings.presence,
        lost_s=settings.lost_s,
        gap_s=settings.gap_s,
        embeddings=settings.embeddings,
        entities="outside" if settings.detections_topic else "own",
    )
    return Engine(model, config, queries=queries, phrases=phrases, background=True)


def asked_phrases(phrases: Sequence[str], verbs: Sequence[str], nouns: Sequence[str]) -> Phrases:
    """What the service SetPhrases asks for; None for the weights' own.

    Raises:
        UserError: it contradicts itself, is too much, or holds what is no phrase.
    """
    if bool(verbs) != bool(nouns):
        raise UserError("captions are made of verbs and nouns: give both")
    if phrases and verbs:
        raise UserError("captions are chosen from one bank: give phrases, or verbs and nouns")
    count = len(verbs) * len(nouns) if verbs else len(phrases)
    if count > MOST_PHRASES:
        raise UserError(f"{count} captions; at most {MOST_PHRASES} may be set at run time, more come from a file")
    found = [tuple(dict.fromkeys(_plain(text) for text in texts)) for texts in (phrases, verbs, nouns)]
    if verbs:
        return VerbNounPairs(verbs=found[1], nouns=found[2])
    return found[0] or None


def _plain(text: str) -> str:
    plain = " ".join(text.split())
    if not plain or len(plain) > 200 or not plain.isprintable():
        raise UserError(f"phrase {plain[:40]!r}: give 1 to 200 letters without control characters")
    return plain
