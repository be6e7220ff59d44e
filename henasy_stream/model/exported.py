"""The network as pure functions of named tensors: what an export turns into graphs.

Each graph takes pictures as a camera gives them and holds the preprocessing contract (mean, deviation, order of axes),
so that no backend can get it wrong.  State goes in and comes out.

Shapes: B batch, T frames of a window or band, S picture side, J joint width, N texts, L tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from henasy_stream.config import PreprocessConfig
from henasy_stream.model.band_attention import Band
from henasy_stream.model.causal import CausalHenasy
from henasy_stream.model.causal_state import ring_shapes
from henasy_stream.model.henasy import Henasy, HenasyOutput
from henasy_stream.model.lavila import DualEncoder

STATE, NEXT = "state.", "next."
"""How the inputs and outputs are called that belong together: `state.NAME` goes in, `next.NAME` comes out."""


class Normalise(nn.Module):
    """The preprocessing contract: (B, T, S, S, 3) uint8 RGB → (B, T, 3, S, S) of the weights' type."""

    mean: Tensor
    scale: Tensor

    def __init__(self, contract: PreprocessConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.register_buffer("mean", torch.tensor(contract.mean).view(1, 1, 3, 1, 1))
        self.register_buffer("scale", 1 / torch.tensor(contract.std).view(1, 1, 3, 1, 1))

    def forward(self, frames: Tensor) -> Tensor:
        """What the network takes."""
        # Cast first: TensorRT knows bytes as inputs, and casting them is all that it does with them.
        return ((frames.float().permute(0, 1, 4, 2, 3) - self.mean) * self.scale).to(self.dtype)


class WindowGraph(nn.Module):
    """One window."""

    def __init__(self, model: Henasy | DualEncoder, contract: PreprocessConfig) -> None:
        super().__init__()
        self.model = model
        self.normalise = Normalise(contract, next(model.parameters()).dtype)

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """(B, T, S, S, 3) uint8 → the fields of `NetworkOutput`, float32, with a batch axis in front."""
        video = self.normalise(frames)
        if isinstance(self.model, DualEncoder):
            return {"video_embedding": unit(self.model.encode_video(video))}
        return _named(self.model(video), self.model.config.mask_grid)


class CausalGraph(nn.Module):
    """One frame and what the network remembers.

    The memory lies in order of time, the oldest first, where `CausalState`'s rings turn: a graph has no counter.
    """

    def __init__(self, model: CausalHenasy) -> None:
        super().__init__()
        self.model = model
        self.normalise = Normalise(model.config.preprocess, next(model.parameters()).dtype)

    def forward(self, frame: Tensor, filled: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """(B, S, S, 3) uint8 and the memory → the fields of `NetworkOutput` and, as `next.NAME`, the memory.

        Args:
            frame: RGB.
            filled: (B,) int64, how many rows of the memory are real.
            state: (T, B, …) by name.
        """
        memory = ShiftMemory(state, filled)
        began = (filled > 0).to(self.normalise.dtype)[:, None, None]
        out = self.model.advance(self.normalise(frame.float()[:, None]), memory, state["slots"][-1], began)
        named = _named(out.newest(), self.model.config.mask_grid)
        return named | {f"{NEXT}{site}": memory.shifted[site] for site in state}


class TextGraph(nn.Module):
    """Texts, cut by the caller to the longest of them."""

    def __init__(self, towers: DualEncoder) -> None:
        super().__init__()
        self.text, self.projection = copy.deepcopy(towers.text), towers.text_projection
        table = towers.text.token_embedding.weight
        if torch.equal(table.half().to(table.dtype), table):  # as weights on disk are; most of a small tower is this
            self.text.token_embedding = _HalfTable(table)  # type: ignore[assignment]

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """(N, L) int64, padded with 0 behind the end token → `text_embedding` (N, J), L2-normalised."""
        encoded = self.text.encode(tokens)
        # Of 32 bits: ONNX Runtime 1.18 finds no maximum of longer ones.
        end = tokens.to(torch.int32).argmax(1, keepdim=True)
        # A product and no gather, which Torch-TensorRT leaves to PyTorch where sizes may change.
        chosen = (end == torch.arange(tokens.shape[1], device=tokens.device)).to(encoded.dtype)
        features = (chosen[:, None] @ encoded).squeeze(1)
        return {"text_embedding": unit(features @ self.projection)}


class _HalfTable(nn.Module):
    """An embedding whose numbers half precision holds exactly."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.dtype = table.dtype
        self.table = nn.Parameter(table.detach().half(), requires_grad=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self.table).to(self.dtype)


class ShiftMemory:
    """Memory whose rows lie in order of time; what a site shows is kept in `shifted`."""

    def __init__(self, rows: Mapping[str, Tensor], filled: Tensor) -> None:
        self.rows = rows
        self.filled = filled
        self.shifted: dict[str, Tensor] = {}

    def bands(self, site: str, new: Tensor) -> Iterator[Band]:
        """One band for the one frame."""
        content = torch.cat([self.rows[site][1:], new[None]])
        self.shifted[site] = content
        lags = torch.arange(content.shape[0] - 1, -1, -1, device=new.device)
        yield Band(slice(0, new.shape[0]), content, lags, lags[:, None] <= self.filled)


def empty_state(model: CausalHenasy, batch: int = 1) -> dict[str, Tensor]:
    """The memory of streams that have seen nothing, by name."""
    like = model.entity_encoder.entity_tokens
    return {site: like.new_zeros(shape) for site, shape in ring_shapes(model.config, batch).items()}


def unit(x: Tensor) -> Tensor:
    """(…, J) → the same, float32 and L2-normalised."""
    return F.normalize(x.float(), dim=-1)


def on_grid(probability: Tensor, side: int) -> Tensor:
    """(B, T, cells, E) → (B, T, side, side, E), float32."""
    return cast(Tensor, probability.float().unflatten(2, (side, side)))  # type: ignore[no-untyped-call]


def _named(out: HenasyOutput, side: int) -> dict[str, Tensor]:
    named = {
        "video_embedding": unit(out.video),
        "entity_embeddings": unit(out.entities),
        "entity_probability": on_grid(out.probability, side),
    }
    return named if out.attention is None else named | {"entity_attention": out.attention.float()}
