"""What a caption may say: phrase files, verbs with nouns, and the built-in phrases."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from henasy_stream.errors import UserError
from henasy_stream.types import ModelSpec

_ACTOR = re.compile(r"#[COco] ")
_EVERYDAY = Path(__file__).with_name("everyday_phrases.txt")
Progress = Callable[[int, int], None]
"""Called with (texts done, texts in all)."""

_ARTICLE = re.compile(r"\b(the|an?) \{\}")


@dataclass(frozen=True, kw_only=True)
class VerbNounPairs:
    """A caption bank of all verbs with all nouns: "cut onion".  A verb may say where the noun goes: "cuts the {}"."""

    verbs: tuple[str, ...]
    nouns: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("verbs", "nouns"):
            if not getattr(self, name):
                raise UserError(f"the caption bank has no {name}: give at least one")

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """All pairs; that of (verb, noun) has index `verb * len(nouns) + noun`."""
        return tuple(_fitted(verb).replace("{}", noun) for verb in self.verbs for noun in self.nouns)

    @property
    def verb_texts(self) -> tuple[str, ...]:
        """What stands for each verb with any noun: "cuts the {}" → "cuts the thing"."""
        return tuple(_fitted(verb).replace("{}", "thing") for verb in self.verbs)

    @property
    def noun_texts(self) -> tuple[str, ...]:
        """What stands for each noun with any verb: the noun with the article that most verbs give it, if they do."""
        found = (_ARTICLE.search(verb) for verb in self.verbs)
        article = Counter("" if one is None else f"{one[1]} " for one in found).most_common(1)[0][0]
        return tuple(f"{article}{noun}" for noun in self.nouns)


def _fitted(verb: str) -> str:
    return verb if "{}" in verb else f"{verb} {{}}"


def load_phrases(path: str | Path) -> tuple[str, ...]:
    """One phrase a line; blank lines, comments and repetitions are left out.

    A comment starts with `#`, except for Ego4D's marks of who acts (`#C C picks up a cup`, `#O a man waves`).

    Raises:
        UserError: the file cannot be read, is not UTF-8 (names the line), or holds no phrase.
    """
    kept = [line for line in read_lines(path, "the phrase file") if not line.startswith("#") or _ACTOR.match(line)]
    if not kept:
        raise UserError(f"the phrase file {path} holds no phrase: write one a line, such as 'washes a cup'")
    return tuple(dict.fromkeys(kept))


def read_lines(path: str | Path, what: str) -> list[str]:
    """The lines that are not blank, runs of blanks made one.

    Raises:
        UserError: the file, named as `what`, cannot be read or is not UTF-8 (names the line).
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {what} {path}: {error.strerror or error}") from error
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = len((raw[: error.start] + b".").splitlines())
        raise UserError(f"{path}, line {line}, is not UTF-8 text: save the file as UTF-8") from error
    lines = (" ".join(line.split()) for line in re.split(r"\r\n|\r|\n", text))
    return [line for line in lines if line]


def default_phrases(spec: ModelSpec) -> tuple[str, ...] | VerbNounPairs:
    """The bank when the user brings none: the weights' own, their verbs with their nouns, or everyday actions."""
    if spec.phrases:
        return tuple(dict.fromkeys(spec.phrases))
    if spec.verbs and spec.nouns:
        return VerbNounPairs(verbs=spec.verbs, nouns=spec.nouns)
    return load_phrases(_EVERYDAY)
