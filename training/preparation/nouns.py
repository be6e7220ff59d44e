"""Which nouns a narration names: rows of a taxonomy, or of a dictionary that is made from the narrations.

Narrations that carry noun tags (EgoClip) go through `training.data.hand_object.narration_nouns`, HelpingHands' rule to
the letter.  One's own have no tags: here every row of the taxonomy may be named, and plurals in -es, -ies and -ves
count too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from training.data.hand_object import EXCLUDED_NOUNS
from training.preparation.actions import sentence_for_parser
from training.preparation.narration import read_narration

MAX_NOUNS = 4
_PUNCTUATION = str.maketrans("", "", ".,;:!?\"'()")
_NO_THINGS = EXCLUDED_NOUNS | {
    "something", "someone", "side", "top", "front", "back", "part", "piece", "pair", "wearer", "people", "thing",
}  # fmt: skip
_THING_DEPS = frozenset({"dobj", "pobj", "conj", "nsubj", "nsubjpass", "attr", "dative", "appos", "dep"})


def word_rows(taxonomy: Sequence[Sequence[str]]) -> dict[str, int]:
    """Row by word; a word of several rows belongs to the first of them."""
    rows: dict[str, int] = {}
    for row, group in enumerate(taxonomy):
        for word in group:
            rows.setdefault(word.replace("_", " ").lower(), row)
    return rows


def find_nouns(text: str, rows: Mapping[str, int]) -> tuple[int, ...]:
    """The rows that a narration names, at most `MAX_NOUNS`: two-word nouns first, each in the order of the words.

    Words of a two-word noun are not counted again; people, hands, ground and camera never count.

    Args:
        text: the narration.
        rows: as `word_rows` returns them.
    """
    words = text.lower().translate(_PUNCTUATION).split()
    found: list[int] = []
    used: set[int] = set()
    for place, (first, second) in enumerate(pairwise(words)):
        pairs = [f"{a} {b}" for a in _forms(first) for b in _forms(second)]
        pair = next((pair for pair in pairs if pair in rows), None)
        if pair and pair not in EXCLUDED_NOUNS and place not in used:
            found.append(rows[pair])
            used.update((place, place + 1))
    for place, word in enumerate(words):
        forms = _forms(word)
        if place in used or EXCLUDED_NOUNS.intersection(forms):
            continue
        found += [rows[form] for form in forms if form in rows][:1]
    return tuple(dict.fromkeys(found))[:MAX_NOUNS]


def _forms(word: str) -> list[str]:
    """The word and what it may be the plural of."""
    forms = [word]
    if word.endswith("s") and not word.endswith("ss"):
        forms.append(word[:-1])
    if word.endswith(("shes", "ches", "xes", "sses", "oes")):
        forms.append(word[:-2])
    if word.endswith("ies"):
        forms.append(word[:-3] + "y")
    if word.endswith("ves"):
        forms += [word[:-3] + "fe", word[:-3] + "f"]
    return forms


def named_things(texts: Iterable[str], parser: Any) -> Iterator[tuple[str, ...]]:
    """The things that each narration names, as singular words such as "chopping board", without any taxonomy."""
    sentences = (sentence_for_parser(read_narration(text)) for text in texts)
    for document in parser.pipe(sentences, batch_size=256):
        things = [_thing(token) for token in document[1:] if token.pos_ in ("NOUN", "PROPN")]
        yield tuple(dict.fromkeys(thing for thing in things if thing))[:MAX_NOUNS]


def _thing(token: Any) -> str:
    """What a noun names together with the noun before it; empty for people, places of things and lone letters."""
    head = str(token.lemma_).lower()
    possessive = any(child.tag_ == "POS" for child in token.children)
    if token.dep_ not in _THING_DEPS or len(head) < 2 or possessive or head in _NO_THINGS:
        return ""
    # Parsers take the first half of "chopping board" or "frying pan" for an adjective as often as for a compound.
    joined = [child for child in token.lefts if child.dep_ == "compound" or child.tag_ == "VBG"]
    before = [child.lower_ for child in joined if child.i == token.i - 1]
    return f"{before[0]} {head}" if before and len(before[0]) > 1 else head


def open_dictionary(things: Iterable[Sequence[str]], min_count: int = 1) -> tuple[str, ...]:
    """The things that are named at least `min_count` times, the most frequent first, ties by alphabet."""
    counts = Counter(thing for row in things for thing in row)
    kept = [thing for thing, count in counts.items() if count >= min_count]
    return tuple(sorted(kept, key=lambda thing: (-counts[thing], thing)))
