"""Class names as sentences, and sentences as one vector per class (LaViLa's zero-shot classification)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from training.evaluation.embedding import Embedder, Vectors

Template = Literal["plain", "ego"]
TEMPLATES: dict[Template, tuple[str, ...]] = {"plain": ("{}",), "ego": ("#C C {}", "#C {}")}


def class_vectors(embedder: Embedder, classes: Sequence[Sequence[str]], template: Template = "plain") -> Vectors:
    """(C, J): the normalised mean of the normalised embeddings of a class's texts in every template."""
    filled = [[pattern.format(text) for pattern in TEMPLATES[template] for text in texts] for texts in classes]
    found = embedder.texts([text for texts in filled for text in texts])
    starts = np.cumsum([0, *map(len, filled[:-1])])
    sums = np.add.reduceat(found, starts, axis=0)
    vectors: Vectors = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return vectors
