"""English verb forms by rule: "picks" → "pick" → "picking"."""

from __future__ import annotations

import re

# Verbs of more than one syllable whose last syllable is stressed, so that its consonant doubles.
_STRESSED_LAST = frozenset({
    "admit", "begin", "commit", "confer", "control", "defer", "deter", "equip", "expel", "forget", "format", "occur",
    "patrol", "permit", "prefer", "propel", "rebut", "refer", "regret", "repel", "submit", "transfer", "transmit",
    "upset",
})  # fmt: skip
_PREFIXES = ("over", "un", "re", "pre", "mis", "out")
_IE_STEMS = frozenset({"l", "t", "d", "v", "unt", "ret", "bel", "underl"})
_E_KEPT_BEFORE_S = frozenset({"ache", "hoe", "shoe", "toe", "canoe", "tiptoe"})
_ONE_SYLLABLE_CVC = re.compile(r"(?:[^aeiou]*|[^aeiou]*qu)[aeiouy][bcdfgklmnprstvz]")


def base_of_third_person(word: str) -> str:
    """Base form of a third person: "carries" → "carry", "washes" → "wash", "closes" → "close"."""
    word = word.lower()
    if word == "has":
        return "have"
    if word.endswith("ies"):
        stem = word[:-3]
        return stem + ("ie" if stem in _IE_STEMS else "y")
    if word[:-1] in _E_KEPT_BEFORE_S:
        return word[:-1]
    if word.endswith(("shes", "ches", "sses", "xes", "zzes", "oes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def gerund(base: str) -> str:
    """The -ing form: "cut" → "cutting", "tie" → "tying", "unplug" → "unplugging", "see" → "seeing"."""
    base = base.lower()
    if base == "be":
        return "being"
    if base.endswith("ie"):
        return base[:-2] + "ying"
    if base.endswith("e") and not base.endswith(("ee", "oe", "ye")) and base != "singe":
        return base[:-1] + "ing"
    if base.endswith("c") and base[-2:-1] in ("i", "a"):
        return base + "king"
    return base + base[-1] + "ing" if _doubles(base) else base + "ing"


def _doubles(base: str) -> bool:
    if base in _STRESSED_LAST:
        return True
    stems = [base] + [base.removeprefix(p) for p in _PREFIXES if base.startswith(p)]
    return any(len(stem) >= 3 and _ONE_SYLLABLE_CVC.fullmatch(stem) for stem in stems)
