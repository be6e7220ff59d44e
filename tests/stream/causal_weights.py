"""A tiny causal network as a weight file, and films of noise that it tells apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from henasy_stream.config import PreprocessConfig, TextConfig
from henasy_stream.model.causal import CausalHenasy
from henasy_stream.model.checkpoints import save_weights
from henasy_stream.types import Frame
from tests.model.causal_parts import TINY, network

CONFIG = dataclasses.replace(
    TINY,
    text=TextConfig(width=8, layers=1, heads=2, context=8),
    preprocess=PreprocessConfig(mean=(127.5,) * 3, std=(64.0,) * 3, span_s=0.2),
)
"""Sees frames of 16 x 16 pixels, three of them 0.1 s apart."""
PERIOD_S = 0.1


def causal_network() -> CausalHenasy:
    model = network(CONFIG)
    model.float()
    return model


def write_weights(folder: Path) -> Path:
    path = folder / "causal.safetensors"
    save_weights(path, causal_network().state_dict(), CONFIG, model_id="tiny-causal")
    return path


def noise(seconds: float, fps: float, *, start_s: float = 0.0, seed: int = 3) -> list[Frame]:
    random = np.random.default_rng(seed)
    return [
        Frame(
            image=random.integers(0, 256, (16, 16, 3), np.uint8),
            stamp_ns=round((start_s + index / fps) * 1e9),
            index=index,
            source="noise",
        )
        for index in range(round(seconds * fps))
    ]
