"""Narrations into "-ing" action phrases, by a language model or by the parser, with what is known kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.preparation.actions import action_phrases
from training.preparation.cache import TextCache
from training.preparation.llm import Completer, prompt_for, read_answer
from training.preparation.parser import load_parser, parser_name

_RULES_VERSION = 1
"""Part of the cache's key: raise it whenever the rules of `actions` change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VerbReport:
    """texts: different narrations.  cached: of them known before.  parsed: read by the parser.  asked: given to the
    language model.  malformed: answers that were no list of phrases, read by the parser instead.  empty: narrations
    without any action.
    """

    texts: int
    cached: int
    parsed: int
    asked: int
    malformed: int
    empty: int


def verb_phrases(
    texts: Sequence[str],
    *,
    cache: Path,
    model: Completer | None = None,
    batch: int = 4096,
    model_batch: int = 16,
    workers: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[Mapping[str, tuple[str, ...]], VerbReport]:
    """The action phrases of every different text.

    Args:
        texts: narrations as annotated.
        cache: SQLite file; kept after every batch, so that an interrupted run goes on.
        model: lists the actions; None leaves it to the parser.
        batch: texts between two writes of the parser.
        model_batch: texts that the model reads at once.
        workers: processes that parse.
        progress: told how many texts have just been done.
    """
    distinct = list(dict.fromkeys(texts))
    rules = f"rules{_RULES_VERSION}/{parser_name()}" if model is None else ""
    engine = model.name if model else rules
    parsed = asked = malformed = 0
    with TextCache(cache, engine) as kept:
        known = kept.get(distinct)
        cached = len(known)
        progress(cached)
        missing = [text for text in distinct if text not in known]
        step = model_batch if model else batch
        for start in range(0, len(missing), step):
            part = missing[start : start + step]
            if model:
                answers = [read_answer(answer) for answer in model.complete([prompt_for(text) for text in part])]
                asked += len(part)
                new = {text: answer for text, answer in zip(part, answers, strict=True) if answer is not None}
                part = [text for text in part if text not in new]
                malformed += len(part)
            else:
                new = {}
            if part:
                new.update(zip(part, action_phrases(part, load_parser(), workers=workers), strict=True))
                parsed += len(part)
            kept.put(new)
            known.update(new)
            progress(len(new))
    empty = sum(not known[text] for text in distinct)
    report = VerbReport(
        texts=len(distinct), cached=cached, parsed=parsed, asked=asked, malformed=malformed, empty=empty
    )
    return known, report
