"""Several processes train as one would: the same losses, the same gradients, the same weights."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.rank_worker import Case, Found, run
from training.config import Recipe
from training.losses import LOSSES, PAPER_LOSSES

ROOT = Path(__file__).parents[2]
SAME = 1e-9
PAPER = dict.fromkeys(PAPER_LOSSES, 1.0) | {"noun_entity": 0.5, "verb_entities": 0.5}


@pytest.fixture(scope="session")
def cases(tiny_recipe: Recipe) -> dict[str, Case]:
    """Every loss alone with boxes on some ranks only, then a few steps of the paper's losses and of all."""
    losses = [name for name in LOSSES if name != "slot_consistency"]  # needs windows side by side
    recipe = replace(tiny_recipe, batch=8, steps=1, optim=replace(tiny_recipe.optim, clip=0.0, lr=1e-3))
    found = {}
    for name in losses:
        found[name] = Case(recipe=replace(recipe, losses={name: 1.0}, freeze=()), boxless=0.5)
    several = replace(recipe, steps=3, losses=PAPER, optim=replace(recipe.optim, clip=0.5))
    found["paper, towers frozen"] = Case(recipe=replace(several, freeze=("video", "text")))
    found["paper, text frozen"] = Case(recipe=replace(several, freeze=("text",)), boxless=0.5)
    found["paper, all trained, matched by frame"] = Case(
        recipe=replace(several, freeze=(), box_matching="frame", positives="verb_only")
    )
    causal = replace(several, model=replace(recipe.model, attention="causal"), freeze=())
    found["causal"] = Case(recipe=replace(causal, losses={**PAPER, "slot_consistency": 0.1}), boxless=0.25)
    found["broken"] = Case(recipe=several, broken=True)
    found["every loss"] = Case(recipe=replace(several, freeze=(), losses=dict.fromkeys(losses, 1.0)), boxless=0.25)
    return found


@pytest.fixture(scope="session")
def single(cases: dict[str, Case]) -> dict[str, Found]:
    return {name: run(case) for name, case in cases.items()}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def started(size: int, folder: Path) -> list[dict[str, Found]]:
    """What each of `size` processes found."""
    there = os.environ | {
        "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"
    }  # fmt: skip
    code = f"from pathlib import Path; from tests.training.rank_worker import main; main(Path({str(folder)!r}))"
    ranks = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=there | {"RANK": str(rank)})
        for rank in range(size)
    ]
    assert [rank.wait(timeout=300) for rank in ranks] == [0] * size
    return [pickle.loads((folder / f"rank{rank}.pickle").read_bytes()) for rank in range(size)]


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_ranks_train_as_one_process_does(
    size: int, cases: dict[str, Case], single: dict[str, Found], tmp_path: Path
) -> None:
    (tmp_path / "cases.pickle").write_bytes(pickle.dumps(cases))
    for rank in started(size, tmp_path):
        assert f"part 0 of step 0; part 1 of step 0{'; part 2' * (size > 2)}" in rank.pop("broken").error
        for name, found in rank.items():
            expected = single[name]
            for step, (losses, alone) in enumerate(zip(found.losses, expected.losses, strict=True)):
                for loss in set(cases[name].recipe.losses) | {"loss", "grad_norm"}:
                    assert losses[loss] == pytest.approx(alone[loss], rel=SAME), (name, step, loss)
            assert found.gradients.keys() == expected.gradients.keys(), name
            largest = max(grad.abs().max() for grad in expected.gradients.values())
            for parameter, grad in expected.gradients.items():
                assert (found.gradients[parameter] - grad).abs().max() <= SAME * largest, (name, parameter)
            for parameter, weight in expected.weights.items():
                assert torch.allclose(found.weights[parameter], weight, rtol=0, atol=1e-6), (name, parameter)


def test_every_case_has_something_to_learn(single: dict[str, Found]) -> None:
    for name, found in single.items():
        assert name == "broken" or max(grad.abs().max() for grad in found.gradients.values()) > 1e-6, name
