"""The protocol between the stream and whatever executes the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from henasy_stream.types import FloatArray, ModelSpec, NetworkOutput, UInt8Array


class Backend(Protocol):
    """Executes the network.  Holds weights, no stream state; safe to call from one thread at a time."""

    @property
    def name(self) -> str:
        """For people and logs: `torch-cpu`, …"""
        ...

    @property
    def spec(self) -> ModelSpec:
        """What the rest of the program must know about the weights."""
        ...

    def run_window(self, clip: UInt8Array) -> NetworkOutput:
        """One window of `spec.num_frames` model-sized RGB frames, (T, S, S, 3) uint8, oldest first."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """(N, D) float32, L2-normalised.  Texts run at their true length, batched."""
        ...


def checked(output: NetworkOutput) -> NetworkOutput:
    """The output as it is, if all of it is finite: one NaN would stay in averages until the next reset.

    Raises:
        FloatingPointError: something in it is not.
    """
    for field in dataclasses.fields(output):
        value = getattr(output, field.name)
        if value is not None and not np.isfinite(value).all():
            raise FloatingPointError(f"the network's {field.name} holds numbers that are not finite")
    return output
