"""The functions that are exported compute what the network computes, state and all."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from henasy_stream.config import HenasyConfig, PreprocessConfig
from henasy_stream.model.exported import CausalGraph, TextGraph, WindowGraph, empty_state
from henasy_stream.model.henasy import Henasy
from tests.model.causal_parts import TINY, network

CONTRACT = PreprocessConfig(mean=(100.0, 110.0, 120.0), std=(50.0, 60.0, 70.0))
WINDOW = dataclasses.replace(TINY, attention="window", preprocess=CONTRACT)
CAUSAL = dataclasses.replace(TINY, preprocess=CONTRACT)


def pictures(frames: int, batch: int = 1) -> torch.Tensor:
    size = (batch, frames, TINY.vision.image_size, TINY.vision.image_size, 3)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def normalised(frames: torch.Tensor) -> torch.Tensor:
    mean, std = torch.tensor(CONTRACT.mean), torch.tensor(CONTRACT.std)
    return ((frames.float() - mean) * (1 / std)).permute(0, 1, 4, 2, 3).double()


@torch.no_grad()
def test_window_graph_is_the_network_on_pictures() -> None:
    torch.manual_seed(0)
    model, frames = Henasy(WINDOW).double().eval(), pictures(3, batch=2)
    found, out = WindowGraph(model, CONTRACT)(frames), model(normalised(frames))
    assert torch.equal(found["video_embedding"], F.normalize(out.video.float(), dim=-1))
    assert torch.equal(found["entity_embeddings"], F.normalize(out.entities.float(), dim=-1))
    assert torch.equal(found["entity_probability"].flatten(2, 3), out.probability.float())
    assert out.attention is not None
    assert torch.equal(found["entity_attention"], out.attention.float())
    assert all(value.dtype == torch.float32 for value in found.values())


@pytest.mark.parametrize(
    "config",
    [CAUSAL, dataclasses.replace(CAUSAL, decoder="average"), dataclasses.replace(CAUSAL, bootstrap_layers=0)],
    ids=["plain", "average", "no bootstrapping"],
)
@torch.no_grad()
def test_causal_graph_goes_through_a_stream_as_the_network_does(config: HenasyConfig) -> None:
    model = network(config)
    graph, frames = CausalGraph(model), pictures(8)
    wanted = model.unrolled(normalised(frames))
    state = empty_state(model)
    for t in range(frames.shape[1]):
        found = graph(frames[:, t], torch.tensor([min(t, 3)]), state)
        state = {name.removeprefix("next."): value for name, value in found.items() if name.startswith("next.")}
        assert torch.allclose(found["video_embedding"], F.normalize(wanted.video[:, t].float(), dim=-1), atol=1e-6)
        assert torch.allclose(found["entity_embeddings"], F.normalize(wanted.entities[:, t].float(), dim=-1), atol=1e-6)
        assert torch.allclose(
            found["entity_probability"].flatten(2, 3)[:, 0], wanted.probability[:, t].float(), atol=1e-6
        )
    assert state.keys() == empty_state(model).keys()


@torch.no_grad()
def test_what_lies_in_rows_that_are_not_filled_changes_nothing() -> None:
    model = network(CAUSAL)
    graph, frame = CausalGraph(model), pictures(1)[:, 0]
    clean = graph(frame, torch.tensor([0]), empty_state(model))
    dirty = graph(frame, torch.tensor([0]), {name: value + 7 for name, value in empty_state(model).items()})
    for name in ("video_embedding", "entity_embeddings", "entity_probability"):
        assert torch.allclose(clean[name], dirty[name], atol=1e-6), name


@torch.no_grad()
def test_text_graph_is_the_tower_at_any_length() -> None:
    torch.manual_seed(0)
    model = Henasy(WINDOW).double().eval()
    tokens = torch.tensor([[48, 3, 49, 0, 0], [48, 5, 6, 7, 49], [48, 49, 0, 0, 0]])
    found = TextGraph(model.towers)(tokens)["text_embedding"]
    assert torch.allclose(found, F.normalize(model.encode_text(tokens).float(), dim=-1), atol=1e-7)
    alone = TextGraph(model.towers)(tokens[:1, :3])["text_embedding"]
    assert torch.allclose(alone, found[:1], atol=1e-6)
