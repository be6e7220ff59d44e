"""EgoMCQ: which of five clips does the narration tell of (`egomcq.json`)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from henasy_stream.errors import UserError
from training.data.records import Clip
from training.data.tables import read_json

INTER, INTRA = 1, 2
"""The file's codes: choices from five videos, choices from one."""

_CHOICES = ("0", "1", "2", "3", "4")


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question.  `choices[answer]` is the clip that the `query` was narrated for; `kind` is INTER or INTRA."""

    key: str
    query: str
    choices: tuple[Clip, ...]
    answer: int
    kind: int


def read_egomcq(path: Path) -> tuple[Question, ...]:
    """The questions in the order of their numbers.

    Nothing is left out: a score over fewer questions is another score.  Starts below 0 are set to 0.

    Raises:
        UserError: a file that is not this one, naming the question and the field; or codes of `types` that
            contradict the videos, see `check_kinds`.
    """
    entries = read_json(path)
    if not isinstance(entries, dict) or not entries:
        raise UserError(f"{path}: expected questions by number")
    try:
        keys = sorted(entries, key=int)
    except ValueError:
        raise UserError(f"{path}: questions must be keyed by numbers, found {next(iter(entries))!r}") from None
    questions = tuple(_question(path, key, entries[key]) for key in keys)
    try:
        check_kinds(questions)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    return questions


def check_kinds(questions: Sequence[Question]) -> dict[str, float]:
    """Share of questions of each kind whose choices are all from one video, {"inter": …, "intra": …}.

    Raises:
        ValueError: most questions called inter have one video, or most called intra have several: the two codes are
            swapped, and so would be their scores.
    """
    asked, alone = Counter[int](), Counter[int]()
    for question in questions:
        asked[question.kind] += 1
        alone[question.kind] += len({choice.video for choice in question.choices}) == 1
    shares = {name: alone[kind] / asked[kind] for name, kind in (("inter", INTER), ("intra", INTRA)) if asked[kind]}
    if shares.get("inter", 0.0) > 0.5 or shares.get("intra", 1.0) < 0.5:
        told = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
        raise ValueError(f"field types seems swapped: share of questions whose choices come from one video: {told}")
    return shares


def _question(path: Path, key: str, entry: Any) -> Question:
    where = f"{path}, question {key}"
    answer, kind, choices = (_get(where, entry, name) for name in ("answer", "types", "choices"))
    if kind not in (INTER, INTRA):
        raise UserError(f"{where}, field types: {kind!r}, expected 1 (inter) or 2 (intra)")
    if not isinstance(choices, Mapping) or sorted(choices) != list(_CHOICES):
        raise UserError(f'{where}, field choices: expected "0" to "4"')
    if not isinstance(answer, int) or not 0 <= answer < len(_CHOICES):
        raise UserError(f"{where}, field answer: {answer!r}, expected 0 to 4")
    return Question(
        key=key,
        query=_text(f"{where}, query", _get(where, entry, "query")),
        choices=tuple(_clip(f"{where}, choice {name}", choices[name]) for name in _CHOICES),
        answer=answer,
        kind=int(kind),
    )


def _clip(where: str, entry: Any) -> Clip:
    start, end = _seconds(where, entry, "clip_start"), _seconds(where, entry, "clip_end")
    if end < max(start, 0.0):
        raise UserError(f"{where}, field clip_end: {end:g} lies before the start, {start:g}")
    video = _get(where, entry, "video_uid")
    if not isinstance(video, str):
        raise UserError(f"{where}, field video_uid: {video!r} is not text")
    return Clip(video=video, start=max(start, 0.0), end=end, texts=(_text(where, entry),))


def _seconds(where: str, entry: Any, name: str) -> float:
    value = _get(where, entry, name)
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        raise UserError(f"{where}, field {name}: {value!r} is not a number") from None
    if not math.isfinite(seconds):
        raise UserError(f"{where}, field {name}: {value!r} is not finite")
    return seconds


def _text(where: str, entry: Any) -> str:
    text = _get(where, entry, "clip_text")
    if not isinstance(text, str) or not text:
        raise UserError(f"{where}, field clip_text: {text!r} is not a narration")
    return text


def _get(where: str, entry: Any, name: str) -> Any:
    if not isinstance(entry, Mapping) or name not in entry:
        raise UserError(f"{where}: no field {name}")
    return entry[name]
