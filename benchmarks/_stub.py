"""A network that takes no time: its outputs were computed before."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from henasy_stream.backends.base import Backend, NetworkState
from henasy_stream.types import FloatArray, ModelSpec, NetworkOutput, UInt8Array


class Replay:
    """A backend that returns the given outputs in turn, for ever; texts are embedded by the model it stands for."""

    def __init__(self, model: Backend, spec: ModelSpec, outputs: Sequence[NetworkOutput]) -> None:
        self.name, self.spec = "replay", spec
        self._model, self._outputs, self._at = model, outputs, 0

    def run_window(self, clip: UInt8Array) -> NetworkOutput:
        """See `Backend.run_window`."""
        self._at += 1
        return self._outputs[(self._at - 1) % len(self._outputs)]

    def initial_state(self) -> NetworkState:
        """See `Backend.initial_state`."""
        return self._model.initial_state()

    def step(self, state: NetworkState, image: UInt8Array) -> tuple[NetworkState, NetworkOutput]:
        """See `Backend.step`."""
        return state, self.run_window(image)

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """See `Backend.embed_texts`."""
        return self._model.embed_texts(texts)


def crowd(model: Backend, entities: int, windows: int) -> tuple[ModelSpec, list[NetworkOutput]]:
    """So many things that move about a little, each seen in every window, as the model would see them.

    Returns:
        The model's spec with one slot for each and one for the ground, and the windows' outputs.
    """
    rng = np.random.default_rng(0)
    spec = dataclasses.replace(model.spec, num_entities=entities + 1)
    grid, frames = spec.grid, spec.num_frames
    side = int(np.ceil(np.sqrt(entities)))
    place = (np.stack(np.divmod(np.arange(entities), side), 1) + 0.5) * grid / side  # (E, 2)
    phase = rng.uniform(0, 2 * np.pi, (entities, 2))
    texts = model.embed_texts([*spec.nouns, spec.background or "background"])
    noisy = texts[np.arange(entities) % len(spec.nouns)] + rng.normal(scale=0.01, size=(entities, spec.embed_dim))
    embeddings = np.concatenate([noisy / np.linalg.norm(noisy, axis=1, keepdims=True), texts[-1:]]).astype(np.float32)
    cells = np.stack(np.meshgrid(np.arange(grid) + 0.5, np.arange(grid) + 0.5, indexing="ij"), -1)
    video = model.embed_texts(spec.phrases)
    outputs = []
    for window in range(windows):
        times = window + np.arange(frames)[:, None, None]
        centre = place + 0.15 * grid / side * np.sin(0.3 * times + phase)  # (T, E, 2)
        distance = ((cells[None, :, :, None] - centre[:, None, None]) ** 2).sum(-1)  # (T, h, w, E)
        logits = 4 - distance / (0.05 * (grid / side) ** 2)
        weights = np.exp(np.concatenate([logits, np.zeros_like(logits[..., :1])], -1))
        outputs.append(
            NetworkOutput(
                video_embedding=video[window // 8 % len(video)],
                entity_embeddings=embeddings,
                entity_probability=(weights / weights.sum(-1, keepdims=True)).astype(np.float32),
            )
        )
    return spec, outputs
