"""From the user's words to what outputs are compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from henasy_stream.backends.base import Backend
from henasy_stream.stream.actions import Action, ActionBank, names_action, stems, verb_stems
from henasy_stream.stream.phrases import default_phrases
from henasy_stream.stream.queries import QueryBank, clean_queries
from henasy_stream.stream.texts import Texts
from henasy_stream.types import FloatArray

Turn = Callable[[], AbstractContextManager[None]]


class Asker:
    """Makes query banks.  Holds the model and the texts that queries compete with, no stream."""

    def __init__(self, backend: Backend, texts: Texts, *, closed: bool = False) -> None:
        """`closed`: the weights know no words but those of their vocabulary."""
        self._backend, self._spec, self._texts = backend, backend.spec, texts
        # Calibrated scores rest on the weights' own phrases, whatever bank the captions have.
        spec, default = backend.spec, default_phrases(backend.spec)
        self._phrases = default if isinstance(default, tuple) else spec.verbs
        self._words = frozenset(stems(" ".join((*spec.nouns, *spec.verbs, *spec.phrases)))) if closed else None
        self._bank: ActionBank | None = None
        self._verbs = verb_stems((*spec.verbs, *self._phrases))

    def bank(self, wanted: Sequence[str], before: QueryBank | None = None, turn: Turn = nullcontext) -> QueryBank:
        """The bank of some texts.

        Args:
            wanted: as the user wrote them.
            before: a bank whose texts are not embedded again.
            turn: to be entered while the model is used: once for each text, so that whoever shares the model never
                waits for more than one.
        """
        texts, width = clean_queries(wanted), self._spec.embed_dim
        known = {} if before is None else dict(zip(before.texts, before.embeddings, strict=True))
        rows = [known[text] if text in known else self._embed(text, turn) for text in texts]
        return QueryBank(
            texts=texts,
            embeddings=np.stack(rows).astype(np.float32) if rows else np.zeros((0, width), np.float32),
            rivals=self._texts.rivals,
            temperature=self._spec.temperature,
            actions=tuple(
                Action.of(text, row, self._actions(turn), self._verbs)
                if names_action(text, self._verbs, self._texts.vocabulary.labels)
                else None
                for text, row in zip(texts, rows, strict=True)
            ),
            calibration=self._spec.queries,
            unknown=tuple(self._unknown(text) for text in texts),
        )

    def _unknown(self, text: str) -> bool:
        """Not one word of the text is known: what the text tower makes of it is chance."""
        return self._words is not None and not self._words.intersection(stems(text))

    def _actions(self, turn: Turn) -> ActionBank:
        """Embedded when the first action is asked for."""
        if self._bank is None:
            rows = [self._embed(text, turn) for text in self._phrases]
            self._bank = ActionBank(
                texts=self._phrases,
                embeddings=np.stack(rows).astype(np.float32),
                stems=tuple(frozenset(stems(text)) for text in self._phrases),
            )
        return self._bank

    def _embed(self, text: str, turn: Turn) -> FloatArray:
        with turn():
            vector: FloatArray = self._backend.embed_texts((text,))[0]
        return vector
