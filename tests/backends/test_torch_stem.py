"""The stem's memory: the same bits with and without it, the network's answers those of the plain path."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from henasy_stream.backends.torch_backend import TorchBackend, read_network
from henasy_stream.backends.torch_stem import StemMemory
from henasy_stream.config import HenasyConfig
from henasy_stream.loading import DEMO_WEIGHTS
from henasy_stream.model import Henasy
from henasy_stream.sources import open_source
from henasy_stream.types import UInt8Array


@pytest.fixture(scope="module")
def film() -> UInt8Array:
    """Twelve different pictures of the world."""
    with open_source("world?seed=7&size=80x80&fps=2") as source:
        return np.stack([frame.image for frame, _ in zip(source, range(12), strict=False)])


def windows(film: UInt8Array, hop: int) -> list[UInt8Array]:
    return [film[start : start + 4] for start in range(0, len(film) - 3, hop)]


def backend() -> TorchBackend:
    return TorchBackend.from_file(DEMO_WEIGHTS, device="cpu")


@pytest.mark.parametrize("hop", [1, 2, 3])
def test_windows_that_share_pictures_give_the_bits_of_windows_by_themselves(film, hop):
    remembering = backend()
    for clip in windows(film, hop):
        found, alone = remembering.run_window(clip), backend().run_window(clip)
        np.testing.assert_array_equal(found.video_embedding, alone.video_embedding)
        np.testing.assert_array_equal(found.entity_embeddings, alone.entity_embeddings)
        np.testing.assert_array_equal(found.entity_probability, alone.entity_probability)


def test_the_answers_are_those_of_the_plain_network(film):
    model, _, _ = read_network(DEMO_WEIGHTS)
    assert isinstance(model, Henasy)
    model.double()
    memory = StemMemory(model.towers.visual.patch_embed, 8)
    mean, std = model.config.preprocess.mean, model.config.preprocess.std
    for clip in windows(film, 1):
        video = (torch.from_numpy(clip).double() - torch.tensor(mean)) / torch.tensor(std)
        video = video.permute(0, 3, 1, 2)
        with torch.no_grad():
            plain = model(video[None])
            ours = model.assemble(model.towers.visual(video[None], memory(clip, video)), len(clip))
        for name in ("video", "entities", "per_frame", "probability", "patches", "cls"):
            assert (getattr(ours, name) - getattr(plain, name)).abs().max() <= 1e-9, name
        assert torch.equal(ours.entity.hard.argmax(-2), plain.entity.hard.argmax(-2))
        assert ours.boot is not None
        assert plain.boot is not None
        assert torch.equal(ours.boot.hard.argmax(-2), plain.boot.hard.argmax(-2))
    assert memory.runs == len(film)


def test_each_picture_runs_once_and_memory_is_bounded(film):
    config = HenasyConfig.demo()
    torch.manual_seed(0)
    stem = Henasy(config).eval().towers.visual.patch_embed
    memory = StemMemory(stem, 4)

    def show(clip: UInt8Array) -> torch.Tensor:
        with torch.inference_mode():
            return memory(clip, torch.from_numpy(clip).permute(0, 3, 1, 2).float()).patches

    first = show(film[:4])
    assert memory.runs == 4
    assert torch.equal(show(film[[0, 0, 0, 0]])[3], first[0])  # as after a start, when one picture fills the window
    assert memory.runs == 4
    show(film[1:5])
    assert memory.runs == 5
    show(film[5:9])
    assert memory.runs == 9
    show(film[:4])  # forgotten
    assert memory.runs == 13
    assert torch.equal(show(film[:4]), first)


def test_a_picture_that_is_written_over_is_not_taken_for_the_old_one(film):
    model, clip = backend(), film[:4].copy()
    before = model.run_window(clip)
    clip[3] = film[9]
    after = model.run_window(clip)
    assert not np.array_equal(before.video_embedding, after.video_embedding)
    np.testing.assert_array_equal(after.video_embedding, backend().run_window(clip).video_embedding)
