"""The parts of the network as graphs of their own: each takes what the ones before give, by name.

`preprocess` → `global_encoder` → `entity_encoder` → `entity_decoder` → `heads`; a dual encoder has the first two and
the last.  One after the other they are the step of `exported.py`, with its inputs, outputs and memory.

Shapes: B batch, T frames (1 in causal form), S picture side, K patches, E entities, D entity width, Dg width of the
global encoder, J joint width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor, nn

from henasy_stream.config import HenasyConfig
from henasy_stream.model.causal import CausalHenasy
from henasy_stream.model.entity_encoder import patches_of
from henasy_stream.model.exported import NEXT, Normalise, ShiftMemory, on_grid, unit
from henasy_stream.model.henasy import Henasy
from henasy_stream.model.lavila import DualEncoder

Named = dict[str, Tensor]


class Part(NamedTuple):
    """A module and the names of what it takes; `layers`: the kinds of layers whose memory it has."""

    name: str
    module: nn.Module
    takes: tuple[str, ...]
    layers: tuple[str, ...] = ()


def parts(model: Henasy | DualEncoder, config: HenasyConfig) -> Iterator[Part]:
    """All parts of a network, in order."""
    causal = isinstance(model, CausalHenasy)
    dtype = next(model.parameters()).dtype
    yield Part("preprocess", _Preprocess(Normalise(config.preprocess, dtype)), ("frame" if causal else "frames",))
    shown = ("hidden", *(["fine"] if config.fine_masks else []))
    memory = ("filled",) if causal else ()
    decoded = ("pooled" if config.decoder == "average" else "decoded",)
    if isinstance(model, DualEncoder):
        yield Part("global_encoder", _DualEncoder(model), ("video",))
        yield Part("heads", _DualHeads(model), ("cls",))
    elif isinstance(model, CausalHenasy):
        yield Part("global_encoder", _CausalEncoder(model), ("video", *memory), ("visual",))
        kinds = ("bootstrap", "grouping", "refine", "slots")
        yield Part("entity_encoder", _CausalEntities(model), (*shown, *memory), kinds)
        if config.decoder != "average":
            yield Part("entity_decoder", _CausalDecoder(model), ("pooled", "patches", *memory), ("decoder",))
        yield Part("heads", _Heads(model), decoded)
    else:
        yield Part("global_encoder", _Encoder(model), ("video",))
        yield Part("entity_encoder", _Entities(model), shown)
        if config.decoder != "average":
            yield Part("entity_decoder", _Decoder(model), ("pooled", "patches"))
        yield Part("heads", _Heads(model), decoded)


class _Preprocess(nn.Module):
    def __init__(self, normalise: Normalise) -> None:
        super().__init__()
        self.normalise = normalise

    def forward(self, frames: Tensor | None = None, frame: Tensor | None = None) -> Named:
        """(B, T, S, S, 3) or one (B, S, S, 3), uint8 RGB → `video` (B, T, 3, S, S)."""
        if frames is None:
            assert frame is not None
            frames = frame.float()[:, None]  # cast first, see Normalise
        return {"video": self.normalise(frames)}


def _shown(model: Henasy, hidden: tuple[Tensor, ...] | list[Tensor], fine: Tensor | None) -> Named:
    """`hidden` (B, 1 + T*K, Dg) each and `fine` (B, T, C, 2*grid, 2*grid), as far as the entity encoder reads them, and
    `patches` (B, T*K, Dg).
    """
    depth = model.config.bootstrap_layers
    read = hidden[: depth + 1] if depth else hidden[-1:]
    named = {f"hidden.{index}": tokens for index, tokens in enumerate(read)} | {"patches": patches_of(hidden[-1])}
    return named | {"fine": fine} if model.config.fine_masks and fine is not None else named


class _OfModel(nn.Module):
    def __init__(self, model: Henasy) -> None:
        super().__init__()
        self.model = model


class _Encoder(_OfModel):
    def forward(self, video: Tensor) -> Named:
        """→ see `_shown`."""
        seen = self.model.towers.visual(video)
        return _shown(self.model, seen.hidden, seen.fine)


class _Entities(_OfModel):
    def forward(self, hidden: Named, fine: Tensor | None = None) -> Named:
        """→ `pooled` (B, E, D), and masks as the step gives them."""
        config = self.model.config
        seen = self.model.entity_encoder(tuple(hidden.values()), config.vision.num_frames, fine)
        return {"pooled": seen.pooled, "entity_probability": on_grid(seen.probability, config.mask_grid)}


class _Decoder(_OfModel):
    def forward(self, pooled: Tensor, patches: Tensor) -> Named:
        """→ `decoded` (B, E, D), and who looks at whom as the step gives it."""
        return _looked(*self.model.entity_decoder(pooled, patches))


class _Heads(_OfModel):
    def forward(self, decoded: Tensor | None = None, pooled: Tensor | None = None) -> Named:
        """One of them, (B, E, D) → `video_embedding` (B, J) and `entity_embeddings` (B, E, J), L2-normalised."""
        entities = self.model.text_space(pooled if decoded is None else decoded)
        return {"video_embedding": unit(entities.mean(1)), "entity_embeddings": unit(entities)}


class _CausalEncoder(_OfModel):
    model: CausalHenasy

    def forward(self, video: Tensor, filled: Tensor, state: Named) -> Named:
        """→ see `_shown`, of one frame."""
        memory = ShiftMemory(state, filled)
        hidden, fine = self.model.encode_frames(video[:, 0], memory)
        return _shown(self.model, hidden, fine) | _next(memory)


class _CausalEntities(_OfModel):
    model: CausalHenasy

    def forward(self, hidden: Named, filled: Tensor, state: Named, fine: Tensor | None = None) -> Named:
        """→ as `_Entities`, of one frame and its band."""
        model, memory = self.model, ShiftMemory(state, filled)
        segments, _, cells = model.segment(list(hidden.values()), fine, memory)
        began = (filled > 0).to(segments.dtype)[:, None, None]
        found = model.assemble_frame(segments, model.carry(state["slots"][-1]) * began, memory)
        masks = model.probability(found.entity, cells)
        named = {"pooled": found.pooled, "entity_probability": on_grid(masks, model.config.mask_grid)}
        return named | _next(memory)


class _CausalDecoder(_OfModel):
    model: CausalHenasy

    def forward(self, pooled: Tensor, patches: Tensor, filled: Tensor, state: Named) -> Named:
        """→ as `_Decoder`."""
        memory = ShiftMemory(state, filled)
        return _looked(*self.model.decode(pooled, patches, memory)) | _next(memory)


class _DualEncoder(nn.Module):
    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.visual = model.visual

    def forward(self, video: Tensor) -> Named:
        """→ `cls` (B, Dg)."""
        return {"cls": self.visual(video).cls}


class _DualHeads(nn.Module):
    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.projection = model.image_projection

    def forward(self, cls: Tensor) -> Named:
        """→ `video_embedding` (B, J), L2-normalised."""
        return {"video_embedding": unit(cls @ self.projection)}


def _looked(decoded: Tensor, attention: Tensor | None) -> Named:
    named = {"decoded": decoded}
    return named if attention is None else named | {"entity_attention": attention.float()}


def _next(memory: ShiftMemory) -> Named:
    return {f"{NEXT}{site}": rows for site, rows in memory.shifted.items()}
