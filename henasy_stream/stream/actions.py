"""Texts that name an action: how they are told from things, how sure it is that they happen, and who acts.

Shapes: `N` entities, `P` phrases of the bank, `D` width of the embedding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from henasy_stream.stream.entities import softmax
from henasy_stream.types import FloatArray

ACTING = 0.5
"""A track acts when its weight is at least this share of the largest."""
SYNONYM = 0.9
"""A text whose cosine with another is as large means the same thing and is no rival of it."""
_DETERMINERS = frozenset(
    ("a", "an", "the", "this", "that", "these", "those", "my", "your", "his", "her", "its", "our", "their", "some",
     "any", "something")
)  # fmt: skip
_NO_VERB_AFTER = frozenset(("to", "for", "with", "of"))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ActionBank:
    """embeddings: (P, D) of `texts`, the actions that a query competes with; stems: the words of each."""

    texts: tuple[str, ...]
    embeddings: FloatArray
    stems: tuple[frozenset[str], ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Action:
    """A query that names an action.

    meant: (M, D) embeddings of the text and of the phrases in the bank that say it, if with more words ("picks up" and
    "picking up the cup").  rivals: (R, D) of the phrases that say something else.
    """

    meant: FloatArray
    rivals: FloatArray

    @staticmethod
    def of(text: str, embedding: FloatArray, bank: ActionBank, verbs: frozenset[str]) -> Action:
        """The action that `text` with its `embedding` (D,) names."""
        words = _from_verb(stems(text), verbs)
        said = np.array([words <= found for found in bank.stems], bool)
        same: npt.NDArray[np.bool_] = bank.embeddings @ embedding >= SYNONYM
        return Action(
            meant=np.concatenate([embedding[None], bank.embeddings[said]]),
            rivals=bank.embeddings[~said & ~same],
        )

    def logit(self, video: FloatArray, temperature: float) -> float:
        """Log odds that the window (D,) shows this and no rival: the best of what is meant against all rivals."""
        rivals = self.rivals @ video / temperature
        return float((self.meant @ video).max() / temperature - np.logaddexp.reduce(rivals))

    def weights(self, entities: FloatArray, video: FloatArray, temperature: float) -> FloatArray:
        """(N,) how much each entity (N, D) has to do with it; the paper's verb-entity weights (Eq. 8).

        Of the phrases that are meant the one that fits the window (D,) best is taken: it names what is acted on.
        """
        if not len(entities):
            return np.zeros(0, np.float32)
        phrase = self.meant[int((self.meant @ video).argmax())]
        return softmax(entities @ phrase / temperature)


def acting(weights: FloatArray) -> npt.NDArray[np.intp]:
    """The entities (N,) that act, largest weight first."""
    order = np.argsort(-weights, kind="stable")
    return order[weights[order] >= ACTING * weights.max(initial=0.0)]


def stems(text: str) -> tuple[str, ...]:
    """The words of a text but articles, each reduced to what its forms share: picks and picking are "pick"."""
    return tuple(_stem(word) for word in re.findall(r"[\w'-]+", text.lower()) if word not in _DETERMINERS)


def verb_stems(texts: Sequence[str]) -> frozenset[str]:
    """The first words of verbs or phrases, as stems."""
    return frozenset(words[0] for text in texts if (words := stems(text.removeprefix("#C C ").replace("{}", ""))))


def names_action(text: str, verbs: frozenset[str], labels: Sequence[str]) -> bool:
    """Whether a text names something that is done, not a thing.

    It does when it begins with one of `verbs` in any form ("cuts the bread"), or has one in -s or -ing after a subject
    ("a hand taps the cup"); not after a determiner alone ("the cutting board") or after "to", "for", "with", "of"
    ("something to cut with"), and not when it is one of `labels` with or without an article ("a brush").
    """
    words = re.findall(r"[\w'-]+", text.lower())
    bare = words[1:] if words and words[0] in _DETERMINERS else words
    if not bare or " ".join(bare) in labels:
        return False
    if bare is words and _stem(words[0]) in verbs:
        return True
    return any(
        _stem(word) in verbs and word.endswith(("s", "ing")) and before not in _DETERMINERS | _NO_VERB_AFTER
        for before, word in pairwise(words)
    )


def _from_verb(words: tuple[str, ...], verbs: frozenset[str]) -> frozenset[str]:
    """The words from the verb on: who acts is not part of what is done."""
    start = next((i for i, word in enumerate(words) if word in verbs), 0)
    return frozenset(words[start:])


def _stem(word: str) -> str:
    for ending in ("ing", "ies", "es", "s"):
        left = word[: -len(ending)]
        if word.endswith(ending) and len(left) >= 2 and re.search("[aeiouy]", left) and not word.endswith("ss"):
            word = left + ("y" if ending == "ies" else "")
            if ending == "ing" and len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
                word = word[:-1]
            break
    return word[:-1] if word.endswith("e") and len(word) > 2 else word
