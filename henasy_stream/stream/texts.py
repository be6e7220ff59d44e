"""All texts that a stream compares with, embedded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from henasy_stream.backends.base import Backend
from henasy_stream.errors import UserError
from henasy_stream.stream.captions import PhraseBank, find_mentions
from henasy_stream.stream.entities import Vocabulary
from henasy_stream.stream.filling import Filling
from henasy_stream.stream.pairs import PairBank, pair_lengths
from henasy_stream.stream.phrases import Progress, VerbNounPairs, default_phrases
from henasy_stream.stream.queries import FALLBACK_RIVALS
from henasy_stream.stream.text_cache import TextCache
from henasy_stream.types import FloatArray

HAND = "hand"
AT_ONCE = 256
"""So many phrases are embedded before the stream starts, although the rest comes in while it runs."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Texts:
    """The vocabulary of slots, the caption bank, and the (R, D) texts that queries compete with."""

    vocabulary: Vocabulary
    bank: PhraseBank | PairBank
    rivals: FloatArray


def prepare_texts(
    backend: Backend,
    phrases: Sequence[str] | VerbNounPairs | None,
    progress: Progress | None = None,
    *,
    background: bool = False,
) -> Texts:
    """Embeds the labels, the background text and the caption bank of a model, from the cache on disk where it can.

    With `background` only the first of a large bank are embedded here; `bank.filling` does the rest.

    Raises:
        UserError: `phrases` is empty.
    """
    spec = backend.spec
    entities = "entities" in spec.capabilities
    labels = tuple(dict.fromkeys((*spec.nouns, HAND))) if entities and spec.nouns else ()
    chosen = default_phrases(spec) if phrases is None else phrases
    cache = TextCache(backend)

    def embed(texts: Sequence[str]) -> FloatArray:
        return Filling(backend, cache, texts).run()

    background_text = (spec.background,) if labels and spec.background is not None else ()
    words = embed(labels + background_text)
    bank: PhraseBank | PairBank
    if isinstance(chosen, VerbNounPairs):
        verbs, nouns = embed(chosen.verb_texts), embed(chosen.noun_texts)
        bank = PairBank(
            pairs=chosen,
            verbs=verbs,
            nouns=nouns,
            lengths=pair_lengths(verbs, nouns),
            filling=Filling(backend, cache, chosen.texts, progress),
            mentions=find_mentions(chosen.nouns, labels),
        )
    else:
        texts = tuple(dict.fromkeys(chosen))
        if not texts:
            raise UserError("the caption bank is empty: give at least one phrase")
        bank = PhraseBank(filling=Filling(backend, cache, texts, progress), mentions=find_mentions(texts, labels))
    bank.filling.run(until=AT_ONCE if background else None)
    return Texts(
        vocabulary=Vocabulary(
            labels=labels,
            embeddings=words[: len(labels)],
            background=words[-1] if background_text else None,
            temperature=spec.temperature,
        ),
        bank=bank,
        rivals=words if labels else embed(FALLBACK_RIVALS),
    )
