"""Runs a bundle with a TensorRT engine.

What a causal network remembers stays on the device: it lies there twice, a step reads one and writes the other, and the
next step takes them the other way round.  To the host go the outputs that the stream reads at every hop, and the memory
only where somebody saves it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from henasy_stream.backends.base import NetworkState
from henasy_stream.backends.bundle import Port
from henasy_stream.backends.onnx_text import OnnxText
from henasy_stream.backends.onnxruntime_backend import read_initial
from henasy_stream.backends.tensorrt_api import open_engine
from henasy_stream.backends.tensorrt_device import Array, DeviceError, Driver, Graph, Stream, open_driver
from henasy_stream.backends.tensorrt_engines import Plan
from henasy_stream.errors import UserError
from henasy_stream.types import FloatArray, NetworkOutput, SavedNetworkState, UInt8Array

_OUTPUTS = ("video_embedding", "entity_embeddings", "entity_probability", "entity_attention")
_STATE = "state."


@dataclass(kw_only=True, eq=False)
class _Side:
    """One of two places of the memory, and what a step from it to the other was recorded as."""

    arrays: Mapping[str, Array]
    ran: bool = False
    graph: Graph | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class DeviceState:
    """What causal weights remember, on the device, in order of time.

    sides: two places by input of the graph; the memory is in the first.  initial: what it is before the first step.
    frames: steps since the start.  filled: of the last T, how many rows are real.
    """

    driver: Driver
    stream: Stream
    sides: tuple[_Side, _Side]
    initial: Mapping[str, npt.NDArray[Any]]
    frames: int = 0
    filled: int = 0

    def reset(self) -> DeviceState:
        """The state of a stream that has seen nothing; consumes this one."""
        self.driver.enter()
        for name, array in self.sides[0].arrays.items():
            array.put(self.initial[name], self.stream)
        return replace(self, filled=0)

    def to_host(self) -> SavedNetworkState:
        """As every backend takes it: rings in which frame f lies in row f % T."""
        self.driver.enter()
        held = {name: array.read(self.stream) for name, array in self.sides[0].arrays.items()}
        arrays = {name.removeprefix(_STATE): np.roll(rows, self.frames, axis=0) for name, rows in held.items()}
        return SavedNetworkState(arrays=arrays, frames=self.frames, filled=self.filled)


class TensorRTBackend:
    """One engine on the first visible GPU; texts run on the CPU.

    Args:
        plan: what the engine is for.
        engine: its file, looked at already.

    Raises:
        UserError: the runtime does not take it.
    """

    def __init__(self, plan: Plan, engine: Path) -> None:
        self._driver = open_driver()
        self._driver.enter()
        manifest = plan.bundle.manifest
        self.name = f"{plan.flavour.name.replace('_', '-')}-cuda"
        self.spec = manifest.spec
        self._graph = manifest.graphs[self.spec.attention]
        self._opened = open_engine(plan.flavour, engine, f"build it with: {plan.command} --force")
        self._context = self._opened.context
        self._stream = self._driver.stream()
        memory = {*self._graph.state.keys(), *self._graph.state.values()}
        ports = [port for port in (*self._graph.inputs, *self._graph.outputs) if port.name not in memory]
        self._arrays = {port.name: self._allocate(port, host=True) for port in ports}
        for name, array in self._arrays.items():
            self._bind(name, array)
        for port in self._graph.inputs:
            if _shape(port) != port.shape:  # for any number of streams; here it is one
                self._context.set_input_shape(port.name, _shape(port))
        self._last = _Side(arrays={})
        self._records = True
        self._kept = False
        self._initial = read_initial(plan.bundle)
        self._text = OnnxText(plan.bundle)

    def run_window(self, clip: UInt8Array) -> NetworkOutput:
        """See `Backend.run_window`."""
        self._driver.enter()
        self._arrays["frames"].put(clip[None], self._stream)
        self._execute(self._last)
        return self._output()

    def initial_state(self) -> DeviceState:
        """See `Backend.initial_state`."""
        self._driver.enter()
        sides = (self._side(), self._side())
        return DeviceState(driver=self._driver, stream=self._stream, sides=sides, initial=self._initial).reset()

    def step(self, state: NetworkState, image: UInt8Array) -> tuple[DeviceState, NetworkOutput]:
        """See `Backend.step`."""
        if isinstance(state, SavedNetworkState):
            state = self._from_host(state)
        assert isinstance(state, DeviceState)
        self._driver.enter()
        now, then = state.sides
        self._last = now
        for into, out in self._graph.state.items():
            self._bind(into, now.arrays[into])
            self._bind(out, then.arrays[into])
        self._arrays["frame"].put(image[None], self._stream)
        self._arrays["filled"].put(np.array([state.filled]), self._stream)
        self._execute(now)
        filled = min(state.filled + 1, self.spec.num_frames)
        return replace(state, sides=(then, now), frames=state.frames + 1, filled=filled), self._output()

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """See `Backend.embed_texts`."""
        return self._text.embed(texts)

    @property
    def stream_handle(self) -> int:
        """Of the CUDA stream that the steps go into."""
        return self._stream.handle

    def launch(self) -> None:
        """Puts the last step into the stream once more, without waiting for it: what timing is about."""
        self._driver.enter()
        self._execute(self._last)

    def _execute(self, side: _Side) -> None:
        """Puts a step into the queue: as it is the first time, which also prepares a recording, then as a recording."""
        if side.graph is None and side.ran and self._records:
            side.graph = self._record()
        if side.graph is not None:
            side.graph.launch(self._stream)
        elif not self._context.execute_async_v3(self._stream.handle):
            raise DeviceError("TensorRT did not execute the engine")
        side.ran = True

    def _record(self) -> Graph | None:
        """A step with the addresses that are bound; None, from now on, where this engine cannot be recorded."""
        self._records = self._opened.recordable(self._stream.handle)
        if not self._records:
            return None
        self._stream.begin_capture()
        done = self._context.execute_async_v3(self._stream.handle)
        with contextlib.suppress(DeviceError):
            graph = self._stream.end_capture()
            if done:
                return graph
        self._records = False
        return None

    def _output(self) -> NetworkOutput:
        there = [name for name in _OUTPUTS if name in self._arrays]
        for name in there:
            self._arrays[name].fetch(self._stream)
        self._stream.wait()
        if not self._kept:
            self._kept = True
            self._opened.keep_kernels()
        return NetworkOutput(**{name: self._arrays[name].fetched()[0] for name in there})

    def _side(self) -> _Side:
        ports = [port for port in self._graph.inputs if port.name in self._graph.state]
        assert ports, f"{self.spec.model_id} is no causal network"
        return _Side(arrays={port.name: self._allocate(port) for port in ports})

    def _from_host(self, saved: SavedNetworkState) -> DeviceState:
        state = self.initial_state()
        for name, array in state.sides[0].arrays.items():
            array.put(np.roll(saved.arrays[name.removeprefix(_STATE)], -saved.frames, axis=0), self._stream)
        return replace(state, frames=saved.frames, filled=saved.filled)

    def _allocate(self, port: Port, *, host: bool = False) -> Array:
        return Array(self._driver, _shape(port), port.dtype, host=host)

    def _bind(self, name: str, array: Array) -> None:
        if not self._context.set_tensor_address(name, array.address):
            raise UserError(f"the engine of {self.spec.model_id} has no tensor {name!r}; build it again with --force")


def _shape(port: Port) -> tuple[int, ...]:
    """With one in place of a number that may change."""
    return tuple(size if isinstance(size, int) else 1 for size in port.shape)
