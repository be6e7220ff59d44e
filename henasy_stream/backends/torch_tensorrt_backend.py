"""Runs the network with Torch-TensorRT: PyTorch's own program, whose operators TensorRT executes.

The program is made here, at every start, from safetensors and this package's code.  A program that was saved would have
to be read with `torch.export.load`, which unpickles; so no bundle's program is ever opened.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from henasy_stream.backends.base import NetworkState
from henasy_stream.backends.torch_backend import TorchBackend, read_network
from henasy_stream.config import HenasyConfig
from henasy_stream.errors import UserError
from henasy_stream.model.causal import CausalHenasy
from henasy_stream.model.exported import NEXT, STATE, CausalGraph, WindowGraph, empty_state
from henasy_stream.model.henasy import Henasy
from henasy_stream.model.lavila import DualEncoder
from henasy_stream.types import FloatArray, NetworkOutput, SavedNetworkState, UInt8Array

_OUTPUTS = ("video_embedding", "entity_embeddings", "entity_probability", "entity_attention")


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorState:
    """What causal weights remember, in order of time, on the device.

    rows: (T, 1, …) by name.  frames: steps since the start.  filled: of the last T, how many rows are real.
    """

    rows: dict[str, Tensor]
    frames: int = 0
    filled: int = 0

    def reset(self) -> TensorState:
        """The state of a stream that has seen nothing."""
        return replace(self, rows={name: torch.zeros_like(row) for name, row in self.rows.items()}, filled=0)

    def to_host(self) -> SavedNetworkState:
        """As every backend takes it: rings in which frame f lies in row f % T."""
        arrays = {name: np.roll(row.cpu().numpy(), self.frames, axis=0) for name, row in self.rows.items()}
        return SavedNetworkState(arrays=arrays, frames=self.frames, filled=self.filled)


class FlatStep(nn.Module):
    """A step whose inputs and outputs are tensors in a row, as compilers like them best.

    Args:
        model: of either kind.
        config: its.
    """

    def __init__(self, model: Henasy | DualEncoder, config: HenasyConfig) -> None:
        super().__init__()
        side, frames = config.vision.image_size, config.vision.num_frames
        self.sites: tuple[str, ...] = ()
        self.step: CausalGraph | WindowGraph
        if isinstance(model, CausalHenasy):
            state = empty_state(model)
            self.sites = tuple(state)
            self.step = CausalGraph(model)
            picture = torch.zeros(1, side, side, 3, dtype=torch.uint8)
            self.example = (picture, torch.zeros(1, dtype=torch.int64), *state.values())
        else:
            self.step = WindowGraph(model, config.preprocess)
            self.example = (torch.zeros(1, frames, side, side, 3, dtype=torch.uint8),)
        with torch.no_grad():
            self.names = tuple(self._named(*self.example))

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Pictures, and for causal weights the number of real rows and the rows → the values of `names`."""
        return tuple(self._named(*given).values())

    def _named(self, picture: Tensor, *memory: Tensor) -> dict[str, Tensor]:
        if not memory:
            return self.step(picture)
        filled, *rows = memory
        return self.step(picture, filled, dict(zip(self.sites, rows, strict=True)))


def compile_step(step: FlatStep, given: Sequence[Tensor]) -> Any:
    """The step as TensorRT executes it, of the device that the tensors are on.

    Attention is taken apart first: converters refuse one whose queries are learned.
    """
    torch_tensorrt = _import()
    program = torch.export.export(step, tuple(given), strict=False)
    return torch_tensorrt.dynamo.compile(
        program,
        arg_inputs=list(given),
        min_block_size=1,
        require_full_compilation=True,
        decompose_attention=True,
    )


class TorchTensorRTBackend:
    """One model on the first visible GPU; texts run with PyTorch there."""

    def __init__(self, model: Henasy | DualEncoder, config: HenasyConfig, model_id: str) -> None:
        torch_tensorrt = _import()
        if not torch.cuda.is_available():
            raise UserError("torch sees no NVIDIA GPU, which Torch-TensorRT needs; take --backend torch")
        self.name = "torch-tensorrt-cuda"
        self._plain = TorchBackend(model, config, model_id, "cuda")
        self.spec = self._plain.spec
        flat = FlatStep(model.cpu(), config).eval()
        self._names, self._sites = flat.names, flat.sites
        self._empty = dict(zip(flat.sites, flat.example[2:], strict=True))
        flat = flat.cuda()
        self._open = ExitStack()
        self._example = [one.cuda() for one in flat.example]
        compiled = compile_step(flat, self._example)
        self._step = self._open.enter_context(torch_tensorrt.runtime.enable_cudagraphs(compiled))

    @classmethod
    def from_file(cls, path: str | Path) -> TorchTensorRTBackend:
        """Load our own safetensors: HENASY, or a converted LaViLa dual encoder.

        Raises:
            UserError: the file is missing or damaged, or Torch-TensorRT or a GPU is.
        """
        model, config, model_id = read_network(path)
        return cls(model, config, model_id)

    @torch.inference_mode()
    def run_window(self, clip: UInt8Array) -> NetworkOutput:
        """See `Backend.run_window`."""
        return _output(self._run(torch.from_numpy(np.ascontiguousarray(clip)[None]).cuda()))

    def initial_state(self) -> TensorState:
        """See `Backend.initial_state`."""
        assert self._sites, f"{self.spec.model_id} is no causal network"
        return TensorState(rows={name: row.cuda() for name, row in self._empty.items()})

    @torch.inference_mode()
    def step(self, state: NetworkState, image: UInt8Array) -> tuple[TensorState, NetworkOutput]:
        """See `Backend.step`."""
        if isinstance(state, SavedNetworkState):
            state = self._from_host(state)
        assert isinstance(state, TensorState)
        picture = torch.from_numpy(np.ascontiguousarray(image)[None]).cuda()
        filled = torch.tensor([state.filled], device="cuda")
        found = self._run(picture, filled, *(state.rows[name] for name in self._sites))
        # Copies, on the device: the next step writes to the same places.
        rows = {name: found[f"{NEXT}{name}"].clone() for name in self._sites}
        filled_now = min(state.filled + 1, self.spec.num_frames)
        return TensorState(rows=rows, frames=state.frames + 1, filled=filled_now), _output(found)

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """See `Backend.embed_texts`."""
        return self._plain.embed_texts(texts)

    @torch.inference_mode()
    def launch(self) -> None:
        """Puts a step into torch's stream, without waiting for it: what timing is about."""
        self._step(*self._example)

    def _run(self, *given: Tensor) -> dict[str, Tensor]:
        found = self._step(*given)
        return dict(zip(self._names, (found,) if isinstance(found, Tensor) else found, strict=True))

    def _from_host(self, saved: SavedNetworkState) -> TensorState:
        rows = {}
        for name, empty in self._empty.items():
            held = np.roll(saved.arrays[name.removeprefix(STATE)], -saved.frames, axis=0)
            rows[name] = torch.from_numpy(held).to("cuda", empty.dtype)
        return TensorState(rows=rows, frames=saved.frames, filled=saved.filled)


def _output(found: dict[str, Tensor]) -> NetworkOutput:
    return NetworkOutput(**{name: found[name][0].float().cpu().numpy() for name in _OUTPUTS if name in found})


def _import() -> Any:
    try:
        import torch_tensorrt
    except ModuleNotFoundError as error:
        if error.name == "torch_tensorrt":
            remedy = "pip install torch-tensorrt, of the same version as torch"
            raise UserError(f"Torch-TensorRT is not installed: {remedy}") from None
        raise UserError(f"Torch-TensorRT lacks {error.name}; install it again") from None
    except Exception as error:  # noqa: BLE001 - without a driver, or beside another torch, it fails in any way it likes
        said = " ".join(str(error).split())[:160]
        raise UserError(
            f"Torch-TensorRT cannot be loaded ({said}); it needs an NVIDIA driver and its own torch"
        ) from None
    logging.getLogger("torch_tensorrt").setLevel(logging.ERROR)
    return torch_tensorrt
