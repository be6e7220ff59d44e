"""Runs a bundle with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from henasy_stream.backends.base import NetworkState
from henasy_stream.backends.bundle import Bundle, Graph, open_bundle
from henasy_stream.backends.onnx_text import OnnxText, cpu_session
from henasy_stream.types import FloatArray, NetworkOutput, SavedNetworkState, UInt8Array

_OUTPUTS = ("video_embedding", "entity_embeddings", "entity_probability", "entity_attention")


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxState:
    """What causal weights remember, in order of time, where the runtime keeps it.

    values: by input of the graph.  frames: steps since the start.  filled: of the last T, how many rows are real.
    """

    values: Mapping[str, ort.OrtValue]
    frames: int = 0
    filled: int = 0

    def reset(self) -> OnnxState:
        """The state of a stream that has seen nothing."""
        empty = {name: np.zeros_like(value.numpy()) for name, value in self.values.items()}
        values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in empty.items()}
        return replace(self, values=values, filled=0)

    def to_host(self) -> SavedNetworkState:
        """As every backend takes it: rings in which frame f lies in row f % T."""
        arrays = {_site(name): np.roll(value.numpy(), self.frames, axis=0) for name, value in self.values.items()}
        return SavedNetworkState(arrays=arrays, frames=self.frames, filled=self.filled)

    @staticmethod
    def from_host(saved: SavedNetworkState, dtypes: Mapping[str, str]) -> OnnxState:
        """The state whose `to_host` this is, in the types of a graph's inputs."""
        rows = {f"state.{site}": np.roll(array, -saved.frames, axis=0) for site, array in saved.arrays.items()}
        values = {name: ort.OrtValue.ortvalue_from_numpy(row.astype(dtypes[name])) for name, row in rows.items()}
        return OnnxState(values=values, frames=saved.frames, filled=saved.filled)


class OnnxRuntimeBackend:
    """A bundle on the CPU.  The state's tensors stay with the runtime between steps."""

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        self.name = "onnxruntime-cpu"
        self.spec = manifest.spec
        self._network = cpu_session(bundle.path(self.spec.attention))
        self._graph = manifest.graphs[self.spec.attention]
        self._text = OnnxText(bundle)

    @classmethod
    def from_bundle(cls, folder: str | Path) -> OnnxRuntimeBackend:
        """Load a folder that `export.py` has made.

        Raises:
            UserError: it is no bundle, or a file is missing, changed or not for this runtime.
        """
        return cls(open_bundle(folder))

    def run_window(self, clip: UInt8Array) -> NetworkOutput:
        """See `Backend.run_window`."""
        names = [output.name for output in self._network.get_outputs()]
        found = self._network.run(names, {"frames": np.ascontiguousarray(clip)[None]})
        return _output(dict(zip(names, found, strict=True)))

    def initial_state(self) -> OnnxState:
        """See `Backend.initial_state`."""
        ports = [port for port in self._causal.inputs if port.name in self._causal.state]
        empty = {port.name: np.zeros([int(size) for size in port.shape], port.dtype) for port in ports}
        return OnnxState(values={name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in empty.items()})

    def step(self, state: NetworkState, image: UInt8Array) -> tuple[OnnxState, NetworkOutput]:
        """See `Backend.step`."""
        if isinstance(state, SavedNetworkState):
            state = OnnxState.from_host(state, {port.name: port.dtype for port in self._causal.inputs})
        assert isinstance(state, OnnxState)
        binding = self._network.io_binding()
        binding.bind_cpu_input("frame", np.ascontiguousarray(image)[None])
        binding.bind_cpu_input("filled", np.array([state.filled], np.int64))
        for name, value in state.values.items():
            binding.bind_ortvalue_input(name, value)
        names = [output.name for output in self._network.get_outputs()]
        for name in names:
            binding.bind_output(name)
        self._network.run_with_iobinding(binding)
        found: dict[str, Any] = dict(zip(names, binding.get_outputs(), strict=True))
        values = {into: found[out] for into, out in self._causal.state.items()}
        filled = min(state.filled + 1, self.spec.num_frames)
        told = {name: found[name].numpy() for name in _OUTPUTS if name in found}
        return OnnxState(values=values, frames=state.frames + 1, filled=filled), _output(told)

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """See `Backend.embed_texts`."""
        return self._text.embed(texts)

    @property
    def _causal(self) -> Graph:
        assert self.spec.attention == "causal", f"{self.spec.model_id} is no causal network"
        return self._graph


def _output(found: Mapping[str, Any]) -> NetworkOutput:
    return NetworkOutput(**{name: found[name][0] for name in _OUTPUTS if name in found})


def _site(name: str) -> str:
    return name.removeprefix("state.")
