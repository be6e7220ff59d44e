"""A small causal network with random weights that leave nothing at zero, and films for it."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from henasy_stream.config import HenasyConfig, TextConfig, VisionConfig
from henasy_stream.model.causal import CausalHenasy
from henasy_stream.model.causal_output import CausalOutput
from henasy_stream.model.causal_state import CausalState

VISION = VisionConfig(image_size=16, patch_size=8, num_frames=3, width=12, layers=3, heads=2)
TINY = HenasyConfig(
    vision=VISION,
    text=TextConfig(vocab_size=50, context=7, width=8, layers=1, heads=2),
    embed_dim=6,
    entity_width=16,
    entity_heads=2,
    num_groups=5,
    num_entities=3,
    bootstrap_layers=2,
    grouping_layers=1,
    refine_layers=1,
    decoder_layers=1,
    attention="causal",
)


def with_frames(frames: int, config: HenasyConfig = TINY) -> HenasyConfig:
    """The same with another band."""
    return dataclasses.replace(config, vision=dataclasses.replace(config.vision, num_frames=frames))


@torch.no_grad()
def network(config: HenasyConfig = TINY, *, gate: float = 0.7, seed: int = 0) -> CausalHenasy:
    torch.manual_seed(seed)
    model = CausalHenasy(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or name.startswith("lags."):
            parameter.normal_(std=0.5 if name.startswith("lags.") else 0.1)
    model.carry.gate.fill_(gate)
    return model.double().eval()


def film(frames: int, batch: int = 1, size: int = VISION.image_size, seed: int = 1) -> Tensor:
    return torch.randn(batch, frames, 3, size, size, generator=torch.Generator().manual_seed(seed)).double()


def tensors(out: CausalOutput) -> dict[str, Tensor]:
    """Fields by the names that the oracle gives them."""
    found = {name: value for name, value in out._asdict().items() if isinstance(value, Tensor)}
    for name, assignment in (("entity", out.entity), ("boot", out.boot)):
        if assignment is not None:
            found |= {name: assignment.soft, f"{name}_of": assignment.hard.argmax(2)}
    return found


def rolled(
    model: CausalHenasy, video: Tensor, chunks: list[int], state: CausalState | None = None
) -> tuple[CausalState, dict[str, Tensor]]:
    """A film through `step` in calls of so many frames, all fields joined along time."""
    state = model.initial_state(len(video)) if state is None else state
    parts = []
    for part in torch.split(video, chunks, 1):
        state, out = model.step(state, part)
        parts.append(tensors(out))
    return state, {name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor], start: int = 0) -> None:
    """Within 1e-9, assignments exactly; the frames of `wanted` from `start` on."""
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        if name.endswith("_of"):
            assert torch.equal(found[name], tensor[:, start:]), name
        else:
            assert (found[name] - tensor[:, start:]).abs().max() <= 1e-9, name
