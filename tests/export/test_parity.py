"""A graph that is not the network does not pass for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from export.bundle import Written
from export.graphs import Form, forms
from export.half_parity import CAPS, HalfParity, compare_half, similarities
from export.parity import (
    MARGIN,
    TOLERANCE,
    Parity,
    compare_causal,
    compare_text,
    compare_window,
    least_margin,
    pictures,
)
from henasy_stream.backends.base import checked
from henasy_stream.backends.onnxruntime_backend import OnnxRuntimeBackend
from henasy_stream.backends.torch_backend import TorchBackend, read_network
from henasy_stream.model.tokenizer import ClipTokenizer


def form_of(weights: Path, name: str, scale: float = 1.0) -> Form:
    """The form of a network, one of whose weights was scaled."""
    model, config, _ = read_network(weights)
    with torch.no_grad():
        model.get_parameter("text_space.1.weight")[0] *= scale
        model.get_parameter("entity_encoder.patch_projection.1.weight")[0] *= scale
    return next(form for form in forms(model, config) if form.name == name)


@pytest.mark.parametrize("kind", ["window", "causal"])
def test_a_mis_scaled_weight_fails(bundles: dict[str, Written], weights: dict[str, Path], kind: str) -> None:
    backend = OnnxRuntimeBackend.from_bundle(bundles[kind].folder)
    compare = compare_causal if kind == "causal" else compare_window
    frames = pictures(32, 8)
    assert compare(form_of(weights[kind], kind), backend, frames).holds
    wrong = compare(form_of(weights[kind], kind, 1.02), backend, frames)
    assert not wrong.holds
    assert wrong.wrong > wrong.steps // 2


def test_a_changed_text_tower_fails(bundles: dict[str, Written], weights: dict[str, Path]) -> None:
    backend, texts = OnnxRuntimeBackend.from_bundle(bundles["window"].folder), ["cup", "the knife", ""]
    tokens = ClipTokenizer(12)(texts)
    form = form_of(weights["window"], "text")
    assert compare_text(form, backend.text, tokens).holds
    form.module.get_parameter("text.blocks.0.mlp.fc1.weight").data *= 1.5
    assert not compare_text(form, backend.text, tokens).holds


def test_steps_that_differ_pass_only_by_their_margin() -> None:
    value = {"x": np.zeros((1, 2))}
    parity = Parity()
    parity.see(value, {"x": np.full((1, 2), TOLERANCE / 2)}, 1.0)
    parity.see(value, {"x": np.ones((1, 2))}, MARGIN / 2)
    assert (parity.steps, parity.flips, parity.holds) == (2, 1, True)
    assert parity.worst == {"x": TOLERANCE / 2}
    parity.see(value, {"x": np.ones((1, 2))}, 2 * MARGIN)
    assert not parity.holds
    for bad in ({}, {"x": np.full((1, 2), np.nan)}, {"x": np.zeros((1, 3))}):
        lone = Parity()
        lone.see(bad, {"x": np.zeros((1, 2))}, 1.0)
        assert not lone.holds
    assert not Parity().holds
    assert Parity(steps=10, flips=1).holds
    assert not Parity(steps=10, flips=2).holds


def test_margins_are_those_of_every_grouping(weights: dict[str, Path]) -> None:
    form = form_of(weights["window"], "window")
    with similarities(form.module) as seen:
        form({"frames": torch.from_numpy(np.stack(pictures(32, 3)))[None]})
    assert [tuple(one.shape[-2:]) for one in seen] == [(6, 16), (4, 6)]
    assert 0 <= least_margin(seen) <= 1
    tie = torch.tensor([[[0.0, 3.0], [2.0, 3.0]]])
    assert least_margin([tie]) == 0
    assert least_margin([tie[..., :1]]) == 1
    assert least_margin([]) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_of_a_network_is_told_from_a_wrong_one(weights: dict[str, Path], dtype: torch.dtype) -> None:
    reference = form_of(weights["window"], "window")
    inputs = [{"frames": torch.from_numpy(np.stack(pictures(32, 6)[start : start + 3]))[None]} for start in range(4)]
    model, config, _ = read_network(weights["window"])
    half = next(form for form in forms(model.to(dtype), config) if form.name == "window")
    right = compare_half(reference, half, inputs)
    assert right.caps == CAPS[dtype]
    assert 0 < right.error <= right.caps.error
    assert not right.wrong
    model.get_parameter("entity_encoder.patch_projection.1.weight").data[0] *= 1.5
    assert not compare_half(reference, half, inputs).holds


def test_a_flip_is_right_only_where_the_reference_was_undecided() -> None:
    wanted = torch.tensor([[1.0, 0.0, 0.501], [0.0, 1.0, 0.5]])
    near = wanted + torch.tensor([[0.0, 0.0, -0.001], [0.0, 0.0, 0.001]])
    parity = HalfParity()
    assert not parity.see(wanted, near)
    assert (parity.flips, parity.wrong, parity.tokens) == (1, 0, 3)
    far = HalfParity()
    far.see(wanted, torch.tensor([[1.0, 0.0, 0.5005], [0.0, 1.0, 0.5006]]))
    assert (far.flips, far.wrong) == (1, 0)
    swapped = HalfParity()
    swapped.see(wanted, wanted.flip(0))
    assert swapped.flips == 3
    assert not swapped.holds
    assert not HalfParity().holds


def test_what_a_precision_may_do_is_capped() -> None:
    half, bfloat = CAPS[torch.float16], CAPS[torch.bfloat16]
    assert (half.error, half.flips, bfloat.error, bfloat.flips) == (2e-3, 5e-3, 3e-2, 3e-2)
    for caps, other in ((half, bfloat), (bfloat, half)):
        flips = int(1000 * caps.flips)
        assert HalfParity(tokens=1000, flips=flips, error=caps.error, caps=caps).holds
        assert not HalfParity(tokens=1000, flips=flips + 1, error=caps.error, caps=caps).holds
        assert not HalfParity(tokens=1000, flips=flips, error=1.01 * caps.error, caps=caps).holds
        assert not HalfParity(tokens=1000, flips=flips, error=caps.error, wrong=1, caps=caps).holds
        assert HalfParity(tokens=1000, flips=flips, error=caps.error, caps=other).holds == (other is bfloat)


def test_a_memory_with_a_number_that_is_none_is_told_by_both(
    bundles: dict[str, Written], weights: dict[str, Path]
) -> None:
    frame = pictures(32, 1)[0]
    for backend in (
        OnnxRuntimeBackend.from_bundle(bundles["causal"].folder),
        TorchBackend.from_file(weights["causal"]),
    ):
        saved = backend.step(backend.initial_state(), frame)[0].to_host()
        checked(backend.step(saved, frame)[1])
        for array in saved.arrays.values():
            array[...] = np.nan
        state, output = backend.step(saved, frame)
        with pytest.raises(FloatingPointError):
            checked(output)
        checked(backend.step(state.reset(), frame)[1])  # a reset leaves nothing of it
