"""Small networks and the bundles that are made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from export.bundle import Written, write_bundle
from export.random_weights import stir
from henasy_stream.config import HenasyConfig, TextConfig, VisionConfig, VocabularyConfig
from henasy_stream.model.causal import build_henasy
from henasy_stream.model.checkpoints import save_weights
from henasy_stream.model.lavila import DualEncoder

SMALL = replace(
    HenasyConfig.demo(),
    vision=VisionConfig(image_size=32, patch_size=8, num_frames=3, width=16, layers=2, heads=2, stem="conv"),
    text=TextConfig(width=8, layers=1, heads=2, context=12),
    vocabulary=VocabularyConfig(nouns=("cup", "knife"), phrases=("picking up the cup", "putting down the knife")),
    embed_dim=8,
    entity_width=16,
    num_groups=6,
    num_entities=4,
)
KINDS = ("window", "causal", "lavila")


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random weights of every kind, none of them zero."""
    folder = tmp_path_factory.mktemp("weights")
    paths = {}
    for kind in KINDS:
        torch.manual_seed(7)
        config = replace(SMALL, attention="causal") if kind == "causal" else SMALL
        network = DualEncoder(config.vision, config.text, 8) if kind == "lavila" else build_henasy(config)
        stir(network, 0.3)
        state = {name: value.half() for name, value in network.state_dict().items()}
        paths[kind] = folder / f"{kind}.safetensors"
        save_weights(paths[kind], state, config, model_id=kind)
    return paths


@pytest.fixture(scope="session")
def bundles(weights: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Written]:
    folder = tmp_path_factory.mktemp("bundles")
    return {kind: write_bundle(path, folder / kind, steps=12) for kind, path in weights.items()}


@pytest.fixture(scope="session")
def halves(weights: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Written]:
    """In half precision."""
    folder = tmp_path_factory.mktemp("halves")
    kinds = ("window", "causal")
    return {kind: write_bundle(weights[kind], folder / kind, precision="fp16", steps=8) for kind in kinds}
