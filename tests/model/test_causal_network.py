"""The causal network as training, weight files and the backend meet it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from henasy_stream.backends.torch_backend import TorchBackend, read_network
from henasy_stream.config import HenasyConfig, TextConfig, VisionConfig
from henasy_stream.errors import UserError
from henasy_stream.loading import DEMO_WEIGHTS
from henasy_stream.model import Henasy
from henasy_stream.model.causal import CausalHenasy, build_henasy
from henasy_stream.model.checkpoints import load_weights, save_weights
from tests.model.causal_parts import TINY, film, network, tensors

SPEAKING = dataclasses.replace(TINY, text=TextConfig(width=8, layers=1, heads=2, context=8))


@torch.no_grad()
def test_forward_is_the_newest_frame_in_the_shapes_of_a_window():
    model, video = network(), film(5, batch=2)
    out, every = model(video), model.unrolled(video)
    assert torch.equal(out.video, every.video[:, -1])
    assert torch.equal(out.entities, every.entities[:, -1])
    assert torch.equal(out.cls, every.cls[:, -1])
    window = Henasy(TINY).double().eval()(film(3, batch=2))
    three = model(film(3, batch=2))
    for field in ("video", "entities", "per_frame", "probability", "patches", "cls", "attention"):
        assert getattr(three, field).shape == getattr(window, field).shape, field
    assert three.entity.soft.shape == window.entity.soft.shape
    assert three.boot is not None
    assert window.boot is not None
    assert three.boot.hard.shape == window.boot.hard.shape


@pytest.mark.parametrize("decoder", ["entity", "average"])
def test_a_step_of_training_on_a_longer_clip_reaches_every_parameter(decoder):
    model = network(dataclasses.replace(TINY, decoder=decoder)).float().train()
    video = film(7, batch=2).float()
    with torch.autocast("cpu", torch.bfloat16):
        out = model.unrolled(video)
    parts = (out.video, out.probability, out.patches, out.cls)
    sum(part.float().square().sum() for part in parts).backward()  # type: ignore[union-attr]
    unused = ("towers.image_projection", "towers.logit_scale", "towers.text")
    for name, parameter in model.named_parameters():
        if not name.startswith(unused):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name


def test_a_closed_gate_learns_to_open():
    torch.manual_seed(0)
    model = CausalHenasy(TINY).double().train()
    model.unrolled(film(3)).video.sum().backward()
    assert model.carry.gate.grad is not None
    assert model.carry.gate.grad != 0


def test_gradients_are_those_of_finite_differences():
    """Through band and pooling into the video embedding: all behind the last assignment, whose gradient is no slope."""
    model, video = network(gate=0), film(5)
    model.requires_grad_(False)
    for table in model.lags.values():
        table.requires_grad_(True)

    def said() -> torch.Tensor:
        return model.unrolled(video).video[:, 2:].square().sum()

    said().backward()
    for name in ("decoder", "refine"):
        table = model.lags[name]
        assert table.grad is not None
        place = tuple(int(i) for i in np.unravel_index(int(table.grad.abs().argmax()), table.shape))
        wanted, step = table.grad[place].item(), 1e-6
        with torch.no_grad():
            table[place] += step
            above = said()
            table[place] -= 2 * step
            below = said()
            table[place] += step
        assert abs(((above - below) / (2 * step)).item() - wanted) <= 1e-5 * max(1, abs(wanted)), name


@torch.no_grad()
def test_the_order_of_frames_is_told_by_the_lags_alone():
    """Shown where the decoder is all that looks back, since layers that follow each other tell more."""
    vision = dataclasses.replace(TINY.vision, layers=0)
    config = dataclasses.replace(TINY, vision=vision, bootstrap_layers=0, grouping_layers=0, refine_layers=0)
    model, video = network(config, gate=0), film(3)
    order = torch.tensor([1, 0, 2])
    assert (model(video).video - model(video[:, order]).video).abs().max() > 1e-6
    model.lags["decoder"].zero_()
    torch.testing.assert_close(model(video).video, model(video[:, order]).video, rtol=1e-9, atol=1e-9)


def test_the_config_names_the_network_and_refuses_what_cannot_be_causal():
    assert type(build_henasy(TINY)) is CausalHenasy
    assert type(build_henasy(dataclasses.replace(TINY, attention="window"))) is Henasy
    with pytest.raises(ValueError, match="self_attention"):
        dataclasses.replace(TINY, decoder="self_attention")
    with pytest.raises(ValueError, match="backbone"):
        dataclasses.replace(TINY, vision=VisionConfig(backbone="another"))


def test_old_weights_are_for_windows():
    assert load_weights(DEMO_WEIGHTS)[1].attention == "window"
    assert HenasyConfig.base().attention == "window"


def test_weights_say_that_they_are_causal_and_the_backend_runs_their_windows(tmp_path):
    model = network(SPEAKING).float()
    path = tmp_path / "causal.safetensors"
    save_weights(path, model.state_dict(), SPEAKING)
    again, config, _ = read_network(path)
    assert isinstance(again, CausalHenasy)
    assert config == SPEAKING
    video = film(4).float()
    with torch.no_grad():
        for name, tensor in tensors(model.unrolled(video)).items():
            assert torch.equal(tensors(again.unrolled(video))[name], tensor), name
    clip = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    out = TorchBackend.from_file(path, device="cpu").run_window(clip)
    assert out.entity_probability is not None
    assert out.entity_probability.shape == (3, 2, 2, 3)
    with pytest.raises(UserError, match="causal and sees 3 frames"):
        read_network(path, num_frames=8)
