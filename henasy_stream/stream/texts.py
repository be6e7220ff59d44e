"""All texts that a stream compares with, embedded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from henasy_stream.backends.base import Backend
from henasy_stream.errors import UserError
from henasy_stream.stream.captions import PhraseBank, find_mentions
from henasy_stream.stream.entities import Vocabulary
from henasy_stream.stream.phrases import Progress, default_phrases, embed_cached
from henasy_stream.stream.queries import FALLBACK_RIVALS, QueryBank, clean_queries
from henasy_stream.types import FloatArray

HAND = "hand"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Texts:
    """The vocabulary of slots, the caption bank, and the (R, D) texts that queries compete with."""

    vocabulary: Vocabulary
    bank: PhraseBank
    rivals: FloatArray

    def queries(self, backend: Backend, texts: Sequence[str]) -> QueryBank:
        """The user's queries, embedded anew: they are few."""
        cleaned = clean_queries(texts)
        width = self.bank.embeddings.shape[1]
        return QueryBank(
            texts=cleaned,
            embeddings=backend.embed_texts(cleaned) if cleaned else np.zeros((0, width), np.float32),
            rivals=self.rivals,
            temperature=self.vocabulary.temperature,
        )


def prepare_texts(backend: Backend, phrases: Sequence[str] | None, progress: Progress | None = None) -> Texts:
    """Embeds the labels, the background text and the caption bank of a model, from the cache on disk where it can.

    Raises:
        UserError: `phrases` is empty.
    """
    spec = backend.spec
    entities = "entities" in spec.capabilities
    labels = tuple(dict.fromkeys((*spec.nouns, HAND))) if entities and spec.nouns else ()
    bank = tuple(dict.fromkeys(default_phrases(spec) if phrases is None else phrases))
    if not bank:
        raise UserError("the caption bank is empty: give at least one phrase")
    background = (spec.background,) if labels and spec.background is not None else ()
    words = embed_cached(backend, labels + background)
    return Texts(
        vocabulary=Vocabulary(
            labels=labels,
            embeddings=words[: len(labels)],
            background=words[-1] if background else None,
            temperature=spec.temperature,
        ),
        bank=PhraseBank(
            texts=bank,
            embeddings=embed_cached(backend, bank, progress),
            mentions=find_mentions(bank, labels),
        ),
        rivals=words if labels else embed_cached(backend, FALLBACK_RIVALS),
    )
