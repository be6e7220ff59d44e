"""The causal weights that ship with the package: their gate opened in training, and the stream equals the oracle."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from henasy_stream.backends.torch_backend import read_network
from henasy_stream.loading import weights_file
from henasy_stream.model.causal import CausalHenasy
from henasy_stream.sources.world import WorldSource
from tests.model.causal_oracle import oracle
from tests.model.causal_parts import assert_equal, rolled, tensors

SHORT, LONG = 9, 201


@pytest.fixture(scope="module")
def model() -> CausalHenasy:
    network, _, _ = read_network(weights_file("demo-causal", lambda _: None))
    assert isinstance(network, CausalHenasy)
    assert network.carry.gate.abs() > 0.01
    return network.double()


@pytest.fixture(scope="module")
def video(model: CausalHenasy) -> Tensor:
    """(1, LONG, 3, S, S): what a camera at the network's own rate would show."""
    size = model.config.vision.image_size
    with WorldSource(f"world?seed=3&size={size}x{size}&fps=2") as source:
        frames = torch.stack([torch.tensor(frame.image) for frame in itertools.islice(source, LONG)])
    return ((frames.permute(0, 3, 1, 2).double() - 127.5) / 64)[None]


def test_trained_weights_equal_the_oracle(model: CausalHenasy, video: Tensor) -> None:
    wanted = oracle(model, video[:, :SHORT])
    _, found = rolled(model, video[:, :SHORT], [1, 3, 5])
    assert_equal(found, wanted)


@torch.no_grad()
def test_a_long_stream_equals_the_parallel_form(model: CausalHenasy, video: Tensor) -> None:
    wanted = tensors(model.unrolled(video))
    _, found = rolled(model, video, [17] * 11 + [1] * 14)
    assert_equal(found, wanted)
    assert len(wanted["entity_of"].unique()) > 3
