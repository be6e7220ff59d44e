"""The forms in which a network can run on a GPU, each ready to be compared and timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from henasy_stream.backends.base import Backend, NetworkState
from henasy_stream.backends.torch_backend import TorchBackend, read_network
from henasy_stream.backends.torch_tensorrt_backend import FlatStep, TensorState
from henasy_stream.errors import UserError
from henasy_stream.types import NetworkOutput, UInt8Array

Step = Callable[..., Sequence[Tensor]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to run.  name: of the weights.  bundle: theirs.  device: "cuda" or "cpu"."""

    name: str
    weights: Path | None
    bundle: Path
    device: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Ready:
    """backend: the form.  launch: puts a step onto the device without waiting for it, where the form allows that.
    stream: the handle of the queue that it goes into, None for torch's own.
    """

    backend: Backend
    launch: Callable[[], object] | None = None
    stream: int | None = None


class Form(Protocol):
    """Makes a form ready; whatever it lacks is in the error that it raises."""

    def __call__(self, asked: Asked) -> Ready:
        """Loads, compiles, builds."""
        ...


class FlatBackend:
    """A step of tensors in a row as a backend.

    Args:
        name: for people.
        plain: has the spec, and embeds texts.
        flat: names of inputs and outputs.
        step: executes it.
        example: its inputs, on the device, of the types that it wants.
    """

    def __init__(self, name: str, plain: TorchBackend, flat: FlatStep, step: Step, example: Sequence[Tensor]) -> None:
        self.name = name
        self.spec = plain.spec
        self.embed_texts = plain.embed_texts
        self._flat = flat
        self._step = step
        self._example = tuple(example)

    def run_window(self, clip: UInt8Array) -> NetworkOutput:
        """See `Backend.run_window`."""
        return _output(self._run(self._picture(clip)))

    def initial_state(self) -> TensorState:
        """See `Backend.initial_state`."""
        return TensorState(rows=dict(zip(self._flat.sites, self._example[2:], strict=True)))

    def step(self, state: NetworkState, image: UInt8Array) -> tuple[TensorState, NetworkOutput]:
        """See `Backend.step`."""
        assert isinstance(state, TensorState)
        filled = torch.tensor([state.filled], device=self._example[1].device)
        found = self._run(self._picture(image), filled, *(state.rows[site] for site in self._flat.sites))
        rows = {site: found[f"next.{site}"].clone() for site in self._flat.sites}
        count = min(state.filled + 1, self.spec.num_frames)
        return TensorState(rows=rows, frames=state.frames + 1, filled=count), _output(found)

    def launch(self) -> None:
        """The step on the example."""
        with torch.no_grad():
            self._step(*self._example)

    def _picture(self, pixels: UInt8Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(pixels)[None]).to(self._example[0].device)

    @torch.no_grad()
    def _run(self, *given: Tensor) -> dict[str, Tensor]:
        return dict(zip(self._flat.names, self._step(*given), strict=True))


def torch_form(asked: Asked, how: str, *, half: bool) -> Ready:
    """PyTorch's own program: "eager", "compile", or "graph" (a CUDA graph)."""
    if asked.weights is None:
        raise UserError(f"{asked.name} is a bundle without weights for PyTorch")
    if asked.device == "cpu" and (half or how == "graph"):
        raise UserError("on GPUs only")
    plain = TorchBackend.from_file(asked.weights, device=asked.device)
    model, config, _ = read_network(asked.weights)
    flat = FlatStep(model.half() if half else model, config).eval().requires_grad_(False).to(asked.device)
    example = [one.to(asked.device) for one in flat.example]
    step: Step = flat
    if how == "compile":
        step = torch.compile(flat, dynamic=False)
    elif how == "graph":
        step = _record(flat, example)
    backend = FlatBackend(f"torch-{how}-{asked.device}", plain, flat, step, example)
    return Ready(backend=backend, launch=backend.launch)


def _record(flat: FlatStep, example: Sequence[Tensor]) -> Step:
    """The step as a CUDA graph: inputs are copied to where it was recorded."""
    held = [one.clone() for one in example]
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside), torch.no_grad():
        for _ in range(3):
            flat(*held)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.no_grad():
        outputs = flat(*held)

    def step(*given: Tensor) -> Sequence[Tensor]:
        for place, value in zip(held, given, strict=True):
            place.copy_(value)
        graph.replay()
        return outputs

    return step


def torch_tensorrt_form(asked: Asked) -> Ready:
    """Torch-TensorRT, of whichever TensorRT it was made for."""
    if asked.device == "cpu":
        raise UserError("on GPUs only")
    if asked.weights is None:
        raise UserError(f"{asked.name} is a bundle without weights for PyTorch")
    from henasy_stream.backends.torch_tensorrt_backend import TorchTensorRTBackend

    backend = TorchTensorRTBackend.from_file(asked.weights)
    return Ready(backend=backend, launch=backend.launch)


def tensorrt_form(asked: Asked, flavour: Any) -> Ready:
    """An engine of the bundle, built if need be."""
    from henasy_stream.backends.tensorrt_backend import TensorRTBackend
    from henasy_stream.backends.tensorrt_engines import ensure_engine, plan_engine

    plan = plan_engine(asked.name, asked.bundle, flavour)
    path, _ = ensure_engine(plan, lambda _: None, lambda *_: None)
    backend = TensorRTBackend(plan, path)
    return Ready(backend=backend, launch=backend.launch, stream=backend.stream_handle)


def onnxruntime_form(asked: Asked, provider: str) -> Ready:
    """The bundle with ONNX Runtime."""
    from henasy_stream.backends import onnxruntime_providers
    from henasy_stream.backends.onnxruntime_backend import OnnxRuntimeBackend

    chosen = getattr(onnxruntime_providers, provider)
    try:
        return Ready(backend=OnnxRuntimeBackend.from_bundle(asked.bundle, chosen))
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed") from None


def _output(found: dict[str, Tensor]) -> NetworkOutput:
    names = ("video_embedding", "entity_embeddings", "entity_probability", "entity_attention")
    return NetworkOutput(**{name: found[name][0].float().cpu().numpy() for name in names if name in found})


FORMS: dict[str, Form] = {
    "eager fp32": lambda asked: torch_form(asked, "eager", half=False),
    "eager fp16": lambda asked: torch_form(asked, "eager", half=True),
    "compile fp32": lambda asked: torch_form(asked, "compile", half=False),
    "compile fp16": lambda asked: torch_form(asked, "compile", half=True),
    "CUDA graph fp32": lambda asked: torch_form(asked, "graph", half=False),
    "CUDA graph fp16": lambda asked: torch_form(asked, "graph", half=True),
    "TensorRT": lambda asked: tensorrt_form(asked, "tensorrt"),
    "TensorRT for RTX": lambda asked: tensorrt_form(asked, "tensorrt_rtx"),
    "Torch-TensorRT": torch_tensorrt_form,
    "ONNX Runtime CUDA": lambda asked: onnxruntime_form(asked, "CUDA"),
    "ONNX Runtime TensorRT for RTX": lambda asked: onnxruntime_form(asked, "TENSORRT_RTX"),
    "ONNX Runtime CPU": lambda asked: onnxruntime_form(asked, "CPU"),
}
