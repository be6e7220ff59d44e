"""Where runtimes could disagree although they agree on pictures: ties, empty groups, numbers that are none.

All arithmetic of the ties is exact in float32: a runtime takes the first group, as the reference does, or is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from export.graphs import Form
from export.recorded import Arrays, Step
from henasy_stream.model.exported import NEXT, STATE
from henasy_stream.model.grouping import TemporalAwareGrouping

GROUPS, TOKENS, WIDTH, FRAMES = 8, 24, 16, 2
CASES = ("ties", "nothing but ties", "empty groups", "NaN in one frame")


class GroupingGraph(nn.Module):
    """A grouping whose projections change nothing: similarities are products of what goes in, a quarter of them."""

    def __init__(self) -> None:
        super().__init__()
        self.grouping = TemporalAwareGrouping(WIDTH, similarity="scaled_dot", scale=1.0)
        for projection in (self.grouping.query, self.grouping.key):
            nn.init.eye_(projection.weight)

    def forward(self, queries: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        """(1, G, D), (1, T, N, D) → `tokens` (1, T, G, D) and `assignment` (1, T, G, N)."""
        found = self.grouping(queries, inputs)
        return {"tokens": found.tokens, "assignment": found.assignment.hard}


def grouping_form() -> Form:
    """The reference and shapes to trace it by."""
    inputs = {"queries": torch.zeros(1, GROUPS, WIDTH), "inputs": torch.zeros(1, FRAMES, TOKENS, WIDTH)}
    return Form(name="grouping", module=GroupingGraph().eval(), inputs=inputs, sizes={})


def grouping_steps(form: Form) -> Iterator[Step]:
    """One step for each of CASES."""
    queries = 4 * torch.eye(WIDTH)[:GROUPS]
    queries[5] = queries[2]  # a group that loses every tie to one before it
    first = torch.arange(TOKENS) % GROUPS
    pairs = torch.eye(WIDTH)[first] + torch.eye(WIDTH)[(first + 3) % GROUPS]
    spoilt = pairs.clone()
    spoilt[7, 3] = float("nan")
    alone = torch.eye(WIDTH)[torch.zeros(TOKENS, dtype=torch.int64)]
    frames = {
        "ties": (pairs, pairs.flip(0)),
        "nothing but ties": (torch.zeros(TOKENS, WIDTH), -pairs),
        "empty groups": (alone, torch.eye(WIDTH)[torch.full((TOKENS,), 6)]),
        "NaN in one frame": (pairs, spoilt),
    }
    for case in CASES:
        inputs = {"queries": queries[None], "inputs": torch.stack(frames[case])[None]}
        wanted = {name: value.numpy() for name, value in form(inputs).items()}
        yield Step(inputs={name: value.numpy() for name, value in inputs.items()}, wanted=wanted, margin=0.0)


def same(found: Arrays, wanted: Arrays) -> bool:
    """Every token in the reference's group, numbers that are none at the same places, the rest to the last bits."""
    return all(
        np.allclose(found[name], value, rtol=0, atol=1e-6, equal_nan=True) for name, value in wanted.items()
    ) and bool((found["assignment"].argmax(-2) == wanted["assignment"].argmax(-2)).all())


def still_pictures(side: int, count: int) -> list[np.ndarray]:
    """Black, white, grey, noise: `count` of each, (S, S, 3) uint8, where most groups get no token or all look alike."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    kinds = [np.full((side, side, 3), value, np.uint8) for value in (0, 255, 127)] + [noise]
    return [picture for picture in kinds for _ in range(count)]


def spoilt_state(form: Form, step: Step) -> Step:
    """The same step with the last number of each state replaced by one that is none."""
    inputs = {name: value.copy() for name, value in step.inputs.items()}
    for name, value in inputs.items():
        if name.startswith(STATE):
            value.reshape(-1)[-1] = np.nan
    outputs = form({name: torch.from_numpy(value) for name, value in inputs.items()})
    wanted = {name: value.numpy() for name, value in outputs.items() if not name.startswith(NEXT)}
    return Step(inputs=inputs, wanted=wanted, margin=0.0)
