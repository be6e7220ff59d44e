"""What can be known of Torch-TensorRT without a GPU: the program that it is given is the network, and what it lacks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from henasy_stream.backends.torch_backend import TorchBackend, read_network
from henasy_stream.backends.torch_tensorrt_backend import FlatStep, TensorState, TorchTensorRTBackend
from henasy_stream.errors import UserError
from henasy_stream.loading import weights_file
from henasy_stream.preprocess import View
from henasy_stream.sources.world import WorldSource
from henasy_stream.types import UInt8Array

OUTPUTS = ("video_embedding", "entity_embeddings", "entity_probability", "entity_attention")


def pictures(size: int, count: int) -> list[UInt8Array]:
    with WorldSource("world?seed=5&size=256x256&fps=2") as source:
        view = View.plan(256, 256, size, "crop", 0)
        return [view.apply(frame.image) for frame in itertools.islice(source, count)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["demo", "demo-causal"])
def test_the_program_is_the_network_and_has_no_other_inputs(name: str) -> None:
    path = weights_file(name, print)
    reference = TorchBackend.from_file(path, device="cpu")
    model, config, _ = read_network(path)
    step = FlatStep(model, config).eval()
    with torch.no_grad():
        program = torch.export.export(step, step.example, strict=False).module()
    spec = reference.spec
    frames = pictures(spec.image_size, spec.num_frames + 2)
    if spec.attention == "window":
        clip = np.stack(frames[: spec.num_frames])
        found = dict(zip(step.names, program(torch.from_numpy(clip)[None]), strict=True))
        wanted = reference.run_window(clip)
    else:
        state, rows = reference.initial_state(), list(step.example[2:])
        for index, frame in enumerate(frames):
            state, wanted = reference.step(state, frame)
            filled = torch.tensor([min(index, spec.num_frames)])
            found = dict(zip(step.names, program(torch.from_numpy(frame)[None], filled, *rows), strict=True))
            rows = [found[f"next.{site}"] for site in step.sites]
    for output in OUTPUTS:
        np.testing.assert_allclose(found[output][0].detach().numpy(), getattr(wanted, output), atol=1e-4)


def test_the_memory_goes_to_the_host_as_rings() -> None:
    rows = torch.arange(4.0).reshape(4, 1, 1)
    saved = TensorState(rows={"slots": rows}, frames=6, filled=4).to_host()
    assert saved.arrays["slots"].ravel().tolist() == [2.0, 3.0, 0.0, 1.0]  # frame 5, the newest, lies in row 5 % 4
    assert (saved.frames, saved.filled) == (6, 4)
    assert not TensorState(rows={"slots": rows}, frames=6, filled=4).reset().rows["slots"].any()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_what_is_missing_is_one_line() -> None:
    with pytest.raises(UserError, match=r"Torch-TensorRT|NVIDIA GPU") as caught:
        TorchTensorRTBackend.from_file(weights_file("demo", print))
    assert "\n" not in str(caught.value)
