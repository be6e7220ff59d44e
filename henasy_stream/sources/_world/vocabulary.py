"""The words of the synthetic world and how people would narrate what they see there."""

from __future__ import annotations

import numpy as np

HAND = "hand"
NOUNS = (
    "cup", "knife", "pan", "plate", "bottle", "spoon", "book", "phone", "apple", "box", "scissors", "brush",
)  # fmt: skip
VERBS = ("pick up", "put down", "push", "pull", "turn", "shake", "wipe", "tap")

HELD_OUT_PAIRS = tuple(((noun * 5 + 1) % len(VERBS), noun) for noun in range(len(NOUNS)))
"""(verb, noun) index pairs that the split "train" never shows: every noun once, every verb at least once."""

_GERUNDS = ("picking up", "putting down", "pushing", "pulling", "turning", "shaking", "wiping", "tapping")
# Base, third person and gerund; `{}` takes the noun phrase.  The first row of a verb is its canonical form.
_FORMS: tuple[tuple[tuple[str, str, str], ...], ...] = (
    (
        ("pick up {}", "picks up {}", "picking up {}"),
        ("lift {}", "lifts {}", "lifting {}"),
        ("pick {} up", "picks {} up", "picking {} up"),
        ("raise {}", "raises {}", "raising {}"),
    ),
    (
        ("put down {}", "puts down {}", "putting down {}"),
        ("place {} on the table", "places {} on the table", "placing {} on the table"),
        ("set {} down", "sets {} down", "setting {} down"),
        ("lower {}", "lowers {}", "lowering {}"),
    ),
    (
        ("push {}", "pushes {}", "pushing {}"),
        ("push {} away", "pushes {} away", "pushing {} away"),
        ("shove {} forward", "shoves {} forward", "shoving {} forward"),
    ),
    (
        ("pull {}", "pulls {}", "pulling {}"),
        ("pull {} closer", "pulls {} closer", "pulling {} closer"),
        ("drag {} back", "drags {} back", "dragging {} back"),
    ),
    (
        ("turn {}", "turns {}", "turning {}"),
        ("rotate {}", "rotates {}", "rotating {}"),
        ("turn {} around", "turns {} around", "turning {} around"),
    ),
    (
        ("shake {}", "shakes {}", "shaking {}"),
        ("swing {} from side to side", "swings {} from side to side", "swinging {} from side to side"),
        ("wiggle {}", "wiggles {}", "wiggling {}"),
    ),
    (
        ("wipe {}", "wipes {}", "wiping {}"),
        ("rub {}", "rubs {}", "rubbing {}"),
        ("clean {} with the palm", "cleans {} with the palm", "cleaning {} with the palm"),
    ),
    (
        ("tap {}", "taps {}", "tapping {}"),
        ("tap on {}", "taps on {}", "tapping on {}"),
        ("poke {}", "pokes {}", "poking {}"),
    ),
)
_TEMPLATES = (
    ("#C C {}", 1),
    ("C {}", 1),
    ("the person {}", 1),
    ("she {}", 1),
    ("he {}", 1),
    ("a hand {}", 1),
    ("{}", 2),
    ("someone is {}", 2),
    ("they are {}", 2),
    ("the camera wearer is {}", 2),
    ("I {}", 0),
    ("{} on the table with one hand", 2),
)
_PLURAL = frozenset({"scissors"})


def phrase(verb: int, noun: int) -> str:
    """The canonical phrase, for example "picking up the cup"."""
    return f"{_GERUNDS[verb]} the {NOUNS[noun]}"


def phrases() -> tuple[str, ...]:
    """All canonical phrases; that of (verb, noun) has index `verb * len(NOUNS) + noun`."""
    return tuple(phrase(verb, noun) for verb in range(len(VERBS)) for noun in range(len(NOUNS)))


def narrate(verb: int, noun: int, rng: np.random.Generator) -> str:
    """One of many ways to say that the camera wearer does `verb` to `noun`."""
    template, form = _TEMPLATES[int(rng.integers(len(_TEMPLATES)))]
    forms = _FORMS[verb]
    row = 0 if rng.random() < 0.5 else int(rng.integers(len(forms)))
    word = NOUNS[noun]
    article = "an" if word[0] in "aeiou" else "a"
    indefinite = f"a pair of {word}" if word in _PLURAL else f"{article} {word}"
    thing = (f"the {word}", indefinite, f"the {word}", f"the {word}")[int(rng.integers(4))]
    return template.format(forms[row][form].format(thing))


def allowed_pair(split: str, verb: int, noun: int) -> bool:
    """Whether a split shows this pair: "pairs" shows exactly the held-out ones, the other splits all the rest."""
    return ((verb, noun) in HELD_OUT_PAIRS) == (split == "pairs")
