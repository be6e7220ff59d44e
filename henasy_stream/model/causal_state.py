"""What a causal network remembers of a stream: of fixed size, saved, restored and started afresh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from henasy_stream.config import HenasyConfig
from henasy_stream.errors import UserError
from henasy_stream.model.checkpoints import write_atomically
from henasy_stream.types import SavedNetworkState

FORMAT = "henasy-stream causal state 1"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CausalState:
    """State of B streams that advance together; `CausalHenasy.step` consumes it and returns the next.

    rings: (T, B, …) by site, what each layer remembers of the last T frames; frame i lies in row i mod T.  frames:
    counter since the first, which a reset does not turn back.  filled: how many frames the rings hold, 0 … T.
    """

    rings: Mapping[str, Tensor]
    frames: int = 0
    filled: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all rings."""
        return sum(ring.nbytes for ring in self.rings.values())

    def reset(self) -> CausalState:
        """The state of a stream that has seen nothing; consumes this one.

        Emptied and not only marked as empty: a weight of zero would not stop what is not finite.
        """
        for ring in self.rings.values():
            ring.zero_()
        return replace(self, filled=0)

    def to_host(self) -> SavedNetworkState:
        """As arrays of its own, in the processor's memory."""
        arrays = {site: ring.cpu().numpy().copy() for site, ring in self.rings.items()}
        return SavedNetworkState(arrays=arrays, frames=self.frames, filled=self.filled)

    @staticmethod
    def from_host(
        saved: SavedNetworkState, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
    ) -> CausalState:
        """The state whose `to_host` this is, with rings of its own on `device`, of another type if one is given."""
        with torch.inference_mode(False):  # rings are written to in whatever mode a step is run
            rings = {site: torch.tensor(array, device=device, dtype=dtype) for site, array in saved.arrays.items()}
        return CausalState(rings=rings, frames=saved.frames, filled=saved.filled)

    def save(self, path: str | Path) -> None:
        """Writes a .safetensors file, complete or not at all.

        Raises:
            UserError: the file cannot be written.
        """
        path = Path(path)
        note = {"format": FORMAT, "frames": str(self.frames), "filled": str(self.filled)}
        rings = {site: ring.cpu() for site, ring in self.rings.items()}
        try:
            write_atomically(path, lambda temporary: save_file(rings, temporary, metadata=note))
        except (OSError, SafetensorError) as error:
            raise UserError(f"cannot save the stream state to {path}: {error}") from error

    @staticmethod
    def load(path: str | Path, device: str | torch.device = "cpu") -> CausalState:
        """The state that `save` wrote, exactly.

        Raises:
            UserError: the file cannot be read or is not a saved state of this version.
        """
        try:
            with safe_open(str(path), "pt", device=str(device)) as file:
                note = file.metadata() or {}
                rings = {site: file.get_tensor(site) for site in file.keys()}  # noqa: SIM118 - no mapping
        except FileNotFoundError as error:
            raise UserError(f"no stream state at {path}") from error
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path} is not a saved stream state or is damaged: start afresh without it") from error
        if note.get("format") != FORMAT:
            raise UserError(f"{path} is no causal stream state of this version: start afresh without it")
        return CausalState(rings=rings, frames=int(note["frames"]), filled=int(note["filled"]))


def looking_back(config: HenasyConfig) -> dict[str, int]:
    """How many layers of each kind see more than one frame."""
    return {
        "visual": config.vision.layers,
        "bootstrap": config.bootstrap_layers,
        "grouping": config.grouping_layers,
        "refine": config.refine_layers,
        "decoder": config.decoder_layers if config.decoder == "entity" else 0,
    }


def ring_shapes(config: HenasyConfig, batch: int) -> dict[str, tuple[int, ...]]:
    """Shapes of all rings for so many streams: keys and values of each layer that looks back, and the slots."""
    vision = config.vision
    patches = vision.grid**2
    tokens = {"grouping": config.num_groups if config.bootstrap_layers else patches, "refine": config.num_entities}
    shapes: dict[str, tuple[int, ...]] = {}
    for kind, layers in looking_back(config).items():
        of_tower = kind == "visual"
        heads = vision.heads if of_tower else config.entity_heads
        depth = (vision.width if of_tower else config.entity_width) // heads
        shape = (vision.num_frames, batch, tokens.get(kind, patches), heads, depth)
        shapes |= {f"{kind}.{layer}.{part}": shape for layer in range(layers) for part in ("key", "value")}
    return shapes | {"slots": (vision.num_frames, batch, config.num_entities, config.entity_width)}
