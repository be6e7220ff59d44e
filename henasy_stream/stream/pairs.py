"""A bank of verbs × nouns, too large to be looked at as a whole: verbs and nouns first, then pairs of the best.

Shapes: `V` verbs, `N` nouns, `P = V * N` pairs, `L` labels of the vocabulary, `D` width of the embedding.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from henasy_stream.stream.captions import Naming, log_softmax
from henasy_stream.stream.filling import Filling
from henasy_stream.stream.phrases import VerbNounPairs
from henasy_stream.types import FloatArray

BEST = 20
"""So many verbs and so many nouns are combined."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairBank:
    """verbs: (V, D), nouns: (N, D) of their words alone.  lengths: (V, N) of the sums of a verb's and a noun's vectors.
    filling: of the pairs.  mentions: (N, L), labels that a noun names; naming: the same.
    """

    pairs: VerbNounPairs
    verbs: FloatArray
    nouns: FloatArray
    lengths: FloatArray
    filling: Filling
    mentions: npt.NDArray[np.bool_]
    naming: Naming = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "naming", Naming.of(self.mentions))

    @property
    def texts(self) -> tuple[str, ...]:
        """The P phrases."""
        return self.pairs.texts

    @property
    def words(self) -> tuple[str, ...]:
        """Where labels are looked for: one text for each row of `mentions`."""
        return self.pairs.nouns

    @property
    def embeddings(self) -> FloatArray:
        """(M, D) of texts that say how well this bank fits a window in general."""
        return np.concatenate([self.verbs, self.nouns])

    def mentioned(self, phrase: int) -> npt.NDArray[np.bool_]:
        """(L,) labels that a phrase names."""
        named: npt.NDArray[np.bool_] = self.mentions[phrase % len(self.nouns)]
        return named

    def log_probabilities(
        self, video: FloatArray, temperature: float, grounded: FloatArray | None, best: int = BEST
    ) -> FloatArray:
        """(P,) as `PhraseBank`'s, among the pairs of the `best` verbs and the `best` nouns, a noun's grounding counted.

        A pair that is not embedded yet stands by the sum of its verb and its noun, and is asked for.  All other pairs
        stand at the median of those looked at, so that one that is passed over in a single window is not forgotten.
        """
        verb, noun = self.verbs @ video, self.nouns @ video
        weights = self.naming.weights(grounded)
        some_verbs = _best(verb, best)
        some_nouns = _best(noun / temperature + weights, best)
        rows = (some_verbs[:, None] * len(self.nouns) + some_nouns).ravel()
        fits = self.filling.embeddings[rows] @ video
        ready = self.filling.ready[rows]
        if not ready.all():
            composed = (verb[some_verbs, None] + noun[some_nouns]) / self.lengths[np.ix_(some_verbs, some_nouns)]
            fits = np.where(ready, fits, composed.ravel())
            self.filling.wanted = rows[~ready]
        found = log_softmax((fits / temperature + np.tile(weights[some_nouns], len(some_verbs))).astype(np.float32))
        result = np.full(len(self.texts), np.median(found), np.float32)
        result[rows] = found
        return result


def pair_lengths(verbs: FloatArray, nouns: FloatArray) -> FloatArray:
    """(V, N) lengths of the sums of unit vectors (V, D) and (N, D)."""
    lengths: FloatArray = np.sqrt(np.maximum(2 + 2 * (verbs @ nouns.T), 1e-6)).astype(np.float32)
    return lengths


def _best(scores: FloatArray, count: int) -> npt.NDArray[np.intp]:
    if count >= len(scores):
        return np.arange(len(scores))
    return np.sort(np.argpartition(-scores, count)[:count])
