"""Runs a bundle with ONNX Runtime, on the CPU or through a provider for NVIDIA GPUs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from henasy_stream.backends.base import NetworkState
from henasy_stream.backends.bundle import INITIAL, Bundle, Graph, open_bundle
from henasy_stream.backends.onnx_text import OnnxText
from henasy_stream.backends.onnxruntime_providers import CPU, Provider, listed, open_session
from henasy_stream.backends.probe import Candidate, first_that_works
from henasy_stream.errors import UserError
from henasy_stream.types import FloatArray, NetworkOutput, SavedNetworkState, UInt8Array

_OUTPUTS = ("video_embedding", "entity_embeddings", "entity_probability", "entity_attention")
_STATE = "state."


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxState:
    """What causal weights remember, in order of time, where the runtime keeps it.

    values: by input of the graph.  initial: what they are before the first step.  frames: steps since the start.
    filled: of the last T, how many rows are real.
    """

    values: Mapping[str, ort.OrtValue]
    initial: Mapping[str, ort.OrtValue] = field(repr=False)
    frames: int = 0
    filled: int = 0

    def reset(self) -> OnnxState:
        """The state of a stream that has seen nothing."""
        return replace(self, values=self.initial, filled=0)

    def to_host(self) -> SavedNetworkState:
        """As every backend takes it: rings in which frame f lies in row f % T."""
        arrays = {
            name.removeprefix(_STATE): np.roll(value.numpy(), self.frames, axis=0)
            for name, value in self.values.items()
        }
        return SavedNetworkState(arrays=arrays, frames=self.frames, filled=self.filled)


class OnnxRuntimeBackend:
    """A bundle.  The state's tensors stay with the runtime between steps, on the device where there is one."""

    def __init__(self, bundle: Bundle, provider: Provider = CPU) -> None:
        manifest = bundle.manifest
        self.name = f"onnxruntime-{provider.name}"
        self.spec = manifest.spec
        self._network = open_session(bundle.path(self.spec.attention), provider)
        self._device = provider.device
        self._graph = manifest.graphs[self.spec.attention]
        self._names = tuple(output.name for output in self._network.get_outputs())
        self._initial = {name: ort.OrtValue.ortvalue_from_numpy(rows) for name, rows in read_initial(bundle).items()}
        self.text = OnnxText(bundle)

    @classmethod
    def from_bundle(cls, folder: str | Path, provider: Provider = CPU) -> OnnxRuntimeBackend:
        """Load a folder that `export.py` has made.

        Raises:
            UserError: it is no bundle, a file is missing, changed or not for this runtime, or the provider does not
                work here.
        """
        return cls(open_bundle(folder), provider)

    @classmethod
    def best(cls, folder: Path, report: Callable[[str], None]) -> OnnxRuntimeBackend:
        """The bundle with the first provider that computes its golden step here.

        Args:
            folder: as `from_bundle`.
            report: told why another was passed over.

        Raises:
            UserError: as `from_bundle`.
        """
        providers = listed()
        if len(providers) == 1:
            return cls.from_bundle(folder)
        tried = [
            Candidate(name=f"onnxruntime-{one.name}", open=partial(cls.from_bundle, folder, one), bundle=folder)
            for one in providers
        ]
        return cast(OnnxRuntimeBackend, first_that_works(tried, report))

    def run_window(self, clip: UInt8Array) -> NetworkOutput:
        """See `Backend.run_window`."""
        found = self._network.run(self._names, {"frames": np.ascontiguousarray(clip)[None]})
        return _output(dict(zip(self._names, found, strict=True)))

    def initial_state(self) -> OnnxState:
        """See `Backend.initial_state`."""
        assert self._causal
        return OnnxState(values=self._initial, initial=self._initial)

    def step(self, state: NetworkState, image: UInt8Array) -> tuple[OnnxState, NetworkOutput]:
        """See `Backend.step`."""
        if isinstance(state, SavedNetworkState):
            state = self._from_host(state)
        assert isinstance(state, OnnxState)
        binding = self._network.io_binding()
        binding.bind_cpu_input("frame", np.ascontiguousarray(image)[None])
        binding.bind_cpu_input("filled", np.array([state.filled], np.int64))
        for name, value in state.values.items():
            binding.bind_ortvalue_input(name, value)  # copied only where it lies elsewhere than the network wants it
        for name in self._names:
            binding.bind_output(name, "cpu" if name in _OUTPUTS else self._device)
        self._network.run_with_iobinding(binding)
        found: dict[str, Any] = dict(zip(self._names, binding.get_outputs(), strict=True))
        values = {into: found[out] for into, out in self._causal.state.items()}
        filled = min(state.filled + 1, self.spec.num_frames)
        told = {name: found[name].numpy() for name in _OUTPUTS if name in found}
        return replace(state, values=values, frames=state.frames + 1, filled=filled), _output(told)

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """See `Backend.embed_texts`."""
        return self.text.embed(texts)

    def _from_host(self, saved: SavedNetworkState) -> OnnxState:
        dtypes = {port.name: port.dtype for port in self._causal.inputs}
        rows = {f"{_STATE}{site}": np.roll(array, -saved.frames, axis=0) for site, array in saved.arrays.items()}
        values = {name: ort.OrtValue.ortvalue_from_numpy(row.astype(dtypes[name])) for name, row in rows.items()}
        return OnnxState(values=values, initial=self._initial, frames=saved.frames, filled=saved.filled)

    @property
    def _causal(self) -> Graph:
        assert self.spec.attention == "causal", f"{self.spec.model_id} is no causal network"
        return self._graph


def read_initial(bundle: Bundle) -> dict[str, npt.NDArray[Any]]:
    """What the network remembers before its first step, by input; empty for windows.

    Raises:
        UserError: the file is damaged, or of another network.
    """
    graph = bundle.manifest.graphs[bundle.manifest.spec.attention]
    if not graph.state:
        return {}
    path = bundle.folder / INITIAL
    ports = {port.name: port for port in graph.inputs if port.name in graph.state}
    try:
        with np.load(path) as arrays:
            found = {name: np.ascontiguousarray(arrays[name]) for name in ports}
    except (KeyError, ValueError, OSError) as error:
        raise UserError(f"{path} holds no state of these weights ({error}); export the bundle again") from None
    for name, rows in found.items():
        wanted = tuple(size if isinstance(size, int) else 1 for size in ports[name].shape)  # one stream of any number
        if rows.dtype != ports[name].dtype or rows.shape != wanted:
            raise UserError(f"{path}: {name} is {rows.dtype} {rows.shape}, not what the network takes; export it again")
    return found


def _output(found: Mapping[str, Any]) -> NetworkOutput:
    return NetworkOutput(**{name: found[name][0] for name in _OUTPUTS if name in found})
