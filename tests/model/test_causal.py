"""The causal network against its oracle: whatever the gate, the chunking and the length of the stream."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from henasy_stream.model import grouping
from henasy_stream.model.causal import CausalHenasy
from henasy_stream.model.grouping import Assignment
from tests.model.causal_oracle import oracle
from tests.model.causal_parts import TINY, VISION, assert_equal, film, network, rolled, tensors, with_frames

LONG = 201
FINE = dataclasses.replace(TINY, vision=dataclasses.replace(VISION, stem="conv"), fine_masks=True)
VARIANTS = {
    "average": dataclasses.replace(TINY, decoder="average"),
    "no bootstrapping": dataclasses.replace(TINY, bootstrap_layers=0),
    "scaled dot": dataclasses.replace(TINY, similarity="scaled_dot"),
    "fine masks": FINE,
    "deeper": dataclasses.replace(TINY, grouping_layers=2, refine_layers=2, decoder_layers=2),
    "no blocks": dataclasses.replace(TINY, grouping_layers=0, refine_layers=0, decoder_layers=0),
    "one frame": with_frames(1),
    "larger band": with_frames(6),
}
Case = tuple[CausalHenasy, Tensor, dict[str, Tensor]]


@pytest.fixture(scope="module", params=[0.0, 0.7], ids=["gate 0", "gate 0.7"])
def case(request: pytest.FixtureRequest) -> Case:
    model, video = network(gate=request.param), film(LONG)
    return model, video, oracle(model, video)


@pytest.mark.parametrize("chunk", [1, 3, 17])
def test_a_long_stream_equals_the_oracle_whatever_the_chunks(case, chunk):
    model, video, wanted = case
    chunks = [chunk] * (LONG // chunk) + [LONG % chunk] * (LONG % chunk > 0)
    state, found = rolled(model, video, chunks)
    assert_equal(found, wanted)
    assert (state.frames, state.filled) == (LONG, 3)


@torch.no_grad()
def test_the_parallel_form_for_training_equals_the_oracle(case):
    model, video, wanted = case
    assert_equal(tensors(model.unrolled(video)), wanted)


def test_the_long_streams_put_the_assignments_to_the_test(case):
    """Many groups are chosen and the choice changes, so that equal assignments say something."""
    _, _, wanted = case
    for name, groups in (("boot_of", 5), ("entity_of", 3)):
        chosen = wanted[name]
        assert len(chosen.unique()) == groups
        assert 0.02 < (chosen[:, 1:] != chosen[:, :-1]).double().mean() < 0.98


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
@torch.no_grad()
def test_every_variant_equals_the_oracle(config):
    model, video = network(config), film(9, batch=2)
    wanted = oracle(model, video)
    assert_equal(rolled(model, video, [1, 2, 6])[1], wanted)
    assert_equal(tensors(model.unrolled(video)), wanted)


@settings(max_examples=15, deadline=None)
@given(
    chunks=st.lists(st.integers(1, 7), min_size=1, max_size=6),
    width=st.integers(1, 5),
    batch=st.integers(1, 2),
    gate=st.sampled_from([0.0, -1.3]),
    seed=st.integers(0, 99),
)
def test_any_chunks_of_any_streams_equal_the_oracle(chunks, width, batch, gate, seed):
    model = network(with_frames(width), gate=gate, seed=seed)
    video = film(sum(chunks), batch, seed=seed)
    assert_equal(rolled(model, video, chunks)[1], oracle(model, video))


@settings(max_examples=15, deadline=None)
@given(width=st.integers(1, 6), change=st.integers(1, 5), seed=st.integers(0, 99))
@torch.no_grad()
def test_nothing_said_or_cached_depends_on_later_frames(width, change, seed):
    model, video = network(with_frames(width), seed=seed), film(6, seed=seed)
    other = video.clone()
    other[:, change:] = film(6 - change, seed=1000 + seed)
    state, said = rolled(model, video, [6])
    state_again, again = rolled(model, other, [6])
    for name, tensor in said.items():
        assert torch.equal(tensor[:, :change], again[name][:, :change]), name
        if name in ("video", "entities", "per_frame", "probability", "patches", "cls"):
            assert not torch.allclose(tensor[:, change:], again[name][:, change:]), name
    kept = [t % width for t in range(max(0, 6 - width), change)]  # rows of frames before the change
    for site, ring in state.rings.items():
        assert torch.equal(ring[kept], state_again.rings[site][kept]), site
    parallel, parallel_again = tensors(model.unrolled(video)), tensors(model.unrolled(other))
    for name, tensor in parallel.items():
        assert torch.equal(tensor[:, :change], parallel_again[name][:, :change]), name


@pytest.mark.parametrize(("gate", "forgets"), [(0.0, True), (0.7, False)])
def test_only_carried_slots_outlast_the_bands(gate, forgets):
    """Each of 3 + 2 + 1 + 1 + 1 layers and the pooling reaches 2 frames back."""
    model, video = network(gate=gate), film(20)
    reach = 2 * 9
    other = video.clone()
    other[:, 0] = film(1, seed=9)[:, 0]
    said, again = rolled(model, video, [20])[1], rolled(model, other, [20])[1]
    assert torch.equal(said["entities"][:, reach + 1 :], again["entities"][:, reach + 1 :]) == forgets
    assert not torch.equal(said["entities"][:, 4], again["entities"][:, 4])


def test_float32_keeps_the_margin_rule(case, monkeypatch):
    """Assignments forced, all else within 1e-5 of the largest; a free one flips only where the reference hesitates."""
    model, video, wanted = case
    flips: list[float] = []
    calls = iter([name for _ in range(LONG) for name in ("boot", "entity")])
    frame = {"boot": 0, "entity": 0}

    def forced(logits: Tensor, noise: Tensor | None = None) -> Assignment:
        name = next(calls)
        at = frame[name]
        frame[name] += 1
        soft = logits.softmax(-2)
        chosen, reference = wanted[f"{name}_of"][:, at, None], wanted[name][:, at, None]
        best = reference.topk(2, 2).values
        differs = soft.argmax(2) != chosen
        flips.extend((best[:, :, 0] - best[:, :, 1])[differs].tolist())
        return Assignment(soft, torch.nn.functional.one_hot(chosen, logits.shape[2]).transpose(2, 3).to(soft.dtype))

    single = CausalHenasy(model.config).eval()
    single.load_state_dict({name: tensor.float() for name, tensor in model.state_dict().items()})  # and back: exact
    monkeypatch.setattr(grouping, "assign", forced)
    _, found = rolled(single, video.float(), [1] * LONG)
    print(f"{len(flips)} of {wanted['boot_of'].numel() + wanted['entity_of'].numel()} assignments flipped in float32")
    assert all(margin <= 2e-5 for margin in flips), flips
    for name, tensor in wanted.items():
        if not name.endswith("_of"):
            worst = ((found[name] - tensor).abs().max() / tensor.abs().max()).item()
            assert worst <= 1e-5, (name, worst)
