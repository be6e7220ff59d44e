"""An embedder whose answers the test chooses: it reads the number that a picture spells, and looks texts up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from henasy_stream.config import HenasyConfig, PreprocessConfig, TextConfig, VisionConfig
from henasy_stream.model.lavila import DualEncoder
from henasy_stream.preprocess import Resize
from tests.training.videos import numbers_of
from training.evaluation.embedding import Embedder, Vectors

TINY = HenasyConfig(
    vision=VisionConfig(image_size=32, patch_size=8, num_frames=4, width=16, layers=1, heads=2),
    text=TextConfig(width=8, layers=1, heads=2, context=24),
    preprocess=PreprocessConfig(resize="squash"),
    embed_dim=8,
    entity_width=16,
    entity_heads=2,
    num_groups=6,
    num_entities=4,
    bootstrap_layers=1,
    grouping_layers=1,
    refine_layers=1,
    decoder_layers=1,
)


def unit(vectors: Vectors) -> Vectors:
    """L2-normalised along the last axis; zeros stay zeros."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


@dataclass(frozen=True, kw_only=True, eq=False)
class Planted(Embedder):
    """seen: vector of a clip whose first picture spells a number; said: vector of a text.

    looked, asked: the numbers of every clip's pictures, and the texts, in the order in which they came.
    """

    seen: Callable[[int], Vectors]
    said: Callable[[str], Vectors]
    asked: list[str] = field(default_factory=list)
    looked: list[list[int]] = field(default_factory=list)

    def texts(self, texts: Sequence[str], *, unit: bool = True) -> Vectors:
        self.asked.extend(texts)
        return _finished(np.stack([self.said(text) for text in texts]), unit)

    def videos(self, frames: Tensor, *, unit: bool = True) -> Vectors:
        lead = frames.shape[:-4]
        numbers = [numbers_of(window.numpy()) for window in frames.reshape(-1, *frames.shape[-4:])]
        self.looked.extend(numbers)
        found = np.stack([self.seen(first) for first, *_ in numbers])
        return _finished(found.reshape(*lead, -1), unit)


def _finished(vectors: Vectors, normalise: bool) -> Vectors:
    return (unit(vectors) if normalise else vectors).astype(np.float32)


def planted(
    path: Path,
    seen: Callable[[int], Vectors],
    said: Callable[[str], Vectors],
    *,
    num_frames: int = 4,
    kind: type[Planted] = Planted,
    resize: Resize = "squash",
    size: int = 32,
) -> Planted:
    """The embedder; `path` is any file, whose checksum stands for that of the weights."""
    vision = dataclasses.replace(TINY.vision, num_frames=num_frames, image_size=size)
    preprocess = dataclasses.replace(TINY.preprocess, resize=resize)
    network = DualEncoder(vision, TINY.text, TINY.embed_dim)
    return kind(
        network=network,
        config=dataclasses.replace(TINY, vision=vision, preprocess=preprocess),
        name="planted",
        path=path,
        device=torch.device("cpu"),
        seen=seen,
        said=said,
    )
