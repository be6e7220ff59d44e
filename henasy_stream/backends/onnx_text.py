"""Texts of a bundle, whatever executes the rest: the vocabulary is looked up, ONNX Runtime embeds all others.

The vocabulary was embedded when the bundle was exported; only new queries and phrases need the text graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from henasy_stream.backends.bundle import EMBEDDINGS, Bundle
from henasy_stream.backends.onnxruntime_providers import CPU, open_session
from henasy_stream.backends.token_batches import Int64Array, by_length
from henasy_stream.errors import UserError
from henasy_stream.model.tokenizer import ClipTokenizer
from henasy_stream.types import FloatArray


class OnnxText:
    """The text graph of a bundle, on the CPU, and the embeddings that travel with it."""

    def __init__(self, bundle: Bundle) -> None:
        self._known = read_embeddings(bundle)
        self._session = open_session(bundle.path("text"), CPU)
        self._tokenizer = ClipTokenizer(bundle.manifest.context)
        self._width = bundle.manifest.spec.embed_dim

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """See `Backend.embed_texts`."""
        found = np.empty((len(texts), self._width), np.float32)
        unknown = []
        for row, text in enumerate(texts):
            vector = self._known.get(text)
            if vector is None:
                unknown.append(row)
            else:
                found[row] = vector
        if unknown:
            found[unknown] = self.embed_tokens(self._tokenizer([texts[row] for row in unknown]))
        return found

    def embed_tokens(self, tokens: Int64Array) -> FloatArray:
        """(N, L) tokens, padded with 0 behind the end token → (N, D), L2-normalised, by the graph itself."""
        found = np.empty((len(tokens), self._width), np.float32)
        for rows, some in by_length(tokens):
            found[rows] = self._session.run(["text_embedding"], {"tokens": some})[0]
        return found


def read_embeddings(bundle: Bundle) -> dict[str, FloatArray]:
    """The (D,) embeddings that travel with a bundle, by text.

    Raises:
        UserError: they were made of another vocabulary, or are damaged.
    """
    path, manifest = bundle.folder / EMBEDDINGS, bundle.manifest
    try:
        with np.load(path) as arrays:
            texts, vectors, made_of = arrays["texts"], arrays["vectors"], str(arrays["vocabulary_hash"])
    except (KeyError, ValueError, OSError) as error:
        raise UserError(f"{path} holds no embeddings ({error}); export the bundle again") from None
    if made_of != manifest.vocabulary_hash:
        raise UserError(f"{path} was made of another vocabulary (its hash differs); export the bundle again")
    if vectors.shape != (len(texts), manifest.spec.embed_dim) or not np.isfinite(vectors).all():
        raise UserError(f"{path} holds no embeddings of {manifest.spec.embed_dim} numbers; export the bundle again")
    return {str(text): vector.astype(np.float32) for text, vector in zip(texts, vectors, strict=True)}
