"""The state of a causal stream: of fixed size, written and read, started afresh, and after five million frames."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from henasy_stream.errors import UserError
from henasy_stream.model.causal_state import CausalState
from tests.model.causal_oracle import oracle
from tests.model.causal_parts import TINY, assert_equal, film, network, rolled, with_frames

ELSEWHERE = """
import sys, torch
from henasy_stream.model.causal_state import CausalState
from tests.model.causal_parts import film, network, rolled
state, found = rolled(network(), film(12)[:, 5:], [4, 3], CausalState.load(sys.argv[1]))
state.save(sys.argv[1])
torch.save(found, sys.argv[2])
"""


def test_a_stream_goes_on_in_another_process(tmp_path):
    model, video = network(), film(12)
    kept, said = tmp_path / "state.safetensors", tmp_path / "said.pt"
    state, _ = rolled(model, video[:, :5], [5])
    state.save(kept)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", ELSEWHERE, kept, said], check=True, cwd=root, env=environment)
    assert_equal(torch.load(said), oracle(model, video), start=5)
    there = CausalState.load(kept)
    here, _ = rolled(model, video[:, 5:], [4, 3], state)
    assert (there.frames, there.filled) == (here.frames, here.filled) == (12, 3)
    for site, ring in here.rings.items():
        torch.testing.assert_close(there.rings[site], ring, rtol=1e-9, atol=1e-9)


def test_after_a_reset_it_is_a_new_stream(tmp_path):
    model, video = network(), film(8)
    state, _ = rolled(model, film(7, seed=5), [7])
    state.save(tmp_path / "before.safetensors")
    state = state.reset()
    assert (state.frames, state.filled) == (7, 0)
    assert_equal(rolled(model, video, [3, 5], state)[1], oracle(model, video))
    old, _ = rolled(model, video, [8], CausalState.load(tmp_path / "before.safetensors"))
    assert not torch.allclose(old.rings["slots"], state.rings["slots"])


def test_a_reset_ends_what_is_not_finite():
    model, video = network(), film(5)
    state, found = rolled(model, film(4) * torch.nan, [4])
    assert found["video"].isnan().all()
    assert_equal(rolled(model, video, [5], state.reset())[1], oracle(model, video))


@pytest.mark.parametrize("frames", [4_999_999, 5_000_000, 2**40 + 1])
def test_the_counter_changes_nothing(frames):
    model, video = network(with_frames(4)), film(9)
    fresh = dataclasses.replace(model.initial_state(), frames=frames)
    state, found = rolled(model, video, [2, 7], fresh)
    assert_equal(found, oracle(model, video))
    assert state.frames == frames + 9


def test_in_mid_stream_at_frame_5_000_000():
    model, video = network(), film(12)
    state, _ = rolled(model, video[:, :5], [5])
    late = dataclasses.replace(state, frames=5_000_000)  # 5 and 5,000,000 leave the same remainder by 3
    assert_equal(rolled(model, video[:, 5:], [1, 6], late)[1], oracle(model, video), start=5)


def test_its_size_never_changes_and_nothing_is_copied():
    model = network()
    state = model.initial_state()
    size, places = state.nbytes, {site: ring.data_ptr() for site, ring in state.rings.items()}
    assert size == sum(8 * ring.numel() for ring in state.rings.values())
    for frame in torch.split(film(7), 1, 1):
        state, _ = model.step(state, frame)
    assert state.nbytes == size
    assert {site: ring.data_ptr() for site, ring in state.rings.items()} == places


def test_streams_side_by_side_do_not_meet():
    model, video = network(), film(6, batch=3)
    together = rolled(model, video, [4, 2])[1]
    for index in range(3):
        one = slice(index, index + 1)
        assert_equal(rolled(model, video[one], [6])[1], {name: value[one] for name, value in together.items()})


def test_in_inference_mode_as_well():
    model, video = network(), film(4)
    with torch.inference_mode():
        state, first = rolled(model, video[:, :2], [2])
    _, second = rolled(model, video[:, 2:], [2], state)
    wanted = oracle(model, video)
    assert_equal({name: torch.cat([first[name], second[name]], 1) for name in first}, wanted)


def test_a_state_of_another_network_or_number_of_streams_is_refused():
    with pytest.raises(ValueError, match=r"does not fit this network and 1 streams: .*slots|bootstrap"):
        network().step(network(with_frames(4)).initial_state(), film(1))
    with pytest.raises(ValueError, match="2 streams"):
        network().step(network().initial_state(), film(1, batch=2))


def test_frames_of_another_size_are_refused():
    model = network()
    with pytest.raises(ValueError, match=r"2×3×24×24 .* n×3×16×16"):
        model.step(model.initial_state(), film(2, size=24))
    with pytest.raises(ValueError, match="0×3×16×16"):
        model.step(model.initial_state(), film(0))


def test_what_is_no_state_is_refused_by_name(tmp_path):
    from safetensors.torch import save_file

    missing, damaged, other = (tmp_path / f"{name}.safetensors" for name in ("missing", "damaged", "other"))
    damaged.write_bytes(b"no tensors")
    save_file({"a": torch.zeros(1)}, other)
    for path, said in ((missing, "no stream state at"), (damaged, "damaged"), (other, "of this version")):
        with pytest.raises(UserError, match=said) as refused:
            CausalState.load(path)
        assert str(path) in str(refused.value)
    with pytest.raises(UserError, match="cannot save the stream state"):
        CausalState(rings={}).save(tmp_path / "nowhere" / "state.safetensors")


def test_the_gate_starts_closed():
    from henasy_stream.model.causal import CausalHenasy

    torch.manual_seed(0)
    assert CausalHenasy(TINY).carry.gate.item() == 0
