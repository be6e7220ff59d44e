"""The protocol between the stream and whatever executes the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from henasy_stream.types import FloatArray, ModelSpec, NetworkOutput, SavedNetworkState, UInt8Array


@runtime_checkable
class NetworkState(Protocol):
    """What causal weights remember of a stream, of fixed size, kept where the backend wants it."""

    @property
    def filled(self) -> int:
        """How many of the last `spec.num_frames` samples it holds."""
        ...

    def reset(self) -> NetworkState:
        """The state of a stream that has seen nothing; consumes this one."""
        ...

    def to_host(self) -> SavedNetworkState:
        """A copy that can be saved; `Backend.step` goes on from it exactly."""
        ...


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

    def initial_state(self) -> NetworkState:
        """Of a stream that has seen nothing; only of weights whose `spec.attention` is "causal"."""
        ...

    def step(self, state: NetworkState, image: UInt8Array) -> tuple[NetworkState, NetworkOutput]:
        """One model-sized RGB sample, (S, S, 3) uint8, after all that `state` remembers; consumes `state`.

        The output's masks are (1, h, w, E), of this sample.  Only of weights whose `spec.attention` is "causal".
        """
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
