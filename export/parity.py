"""How far a bundle is from the reference: streamed steps, each from the reference's state, and a free run beside them.

An assignment is an argmax: where two similarities are all but equal, rounding may choose the other one, and all that
follows differs.  Such a step is told apart by the reference's own margin (design, "Exactness through an argmax").
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from export.graphs import Form
from export.half_parity import similarities
from henasy_stream.backends.base import Backend, NetworkState
from henasy_stream.backends.onnx_text import OnnxText
from henasy_stream.model.exported import NEXT, STATE
from henasy_stream.preprocess import View
from henasy_stream.sources.world import WorldSource
from henasy_stream.types import NetworkOutput, SavedNetworkState

Arrays = dict[str, npt.NDArray[Any]]
TOLERANCE = 1e-4
"""Largest difference of an output, of lengths and probabilities of at most 1, where no assignment may flip."""
HALF_TOLERANCE = 1e-2
"""The same in half precision; the margin grows with it."""
ANYTHING = 2.0
"""As far apart as two outputs can be: nothing but measured."""
MARGIN = 2e-5
"""Of the similarities' range: below it rounding may choose another group."""
MOST_FLIPS = 0.1
"""Of the steps: a graph that is undecided in more is another network."""
STEPS = 100


@dataclass(kw_only=True)
class Parity:
    """Of one graph over `steps`: largest difference by output, over the steps in which no assignment flipped.

    flips: steps that differ by more than `tolerance` and whose margin is below MARGIN (as many times as the tolerance
    is TOLERANCE).  wrong: those of larger margin.
    rollout: largest difference by output when the graph goes on from its own state.
    """

    steps: int = 0
    worst: dict[str, float] = field(default_factory=dict)
    rollout: dict[str, float] = field(default_factory=dict)
    flips: int = 0
    wrong: int = 0
    tolerance: float = TOLERANCE

    @property
    def holds(self) -> bool:
        """Whether the graph may stand for the network."""
        return self.steps > 0 and not self.wrong and self.flips <= max(1, MOST_FLIPS * self.steps)

    @property
    def told(self) -> str:
        """How many steps differ, for people."""
        return f"of {self.steps} steps, {self.wrong} are not the network's and {self.flips} rounded to another group"

    def see(self, found: Arrays, wanted: Arrays, margin: float) -> None:
        """One step."""
        self.steps += 1
        apart = {name: _apart(found.get(name), value) for name, value in wanted.items()}
        if max(apart.values()) <= self.tolerance:
            self.worst = {name: max(value, self.worst.get(name, 0.0)) for name, value in apart.items()}
        elif margin <= MARGIN * self.tolerance / TOLERANCE:
            self.flips += 1
        else:
            self.wrong += 1
            self.worst = {name: max(value, self.worst.get(name, 0.0)) for name, value in apart.items()}


def pictures(size: int, count: int, seed: int = 3) -> list[npt.NDArray[np.uint8]]:
    """A synthetic stream as the model sees it, (S, S, 3) each, two a second."""
    with WorldSource(f"world?seed={seed}&size=256x256&fps=2") as source:
        view = View.plan(256, 256, size, "crop", 0)
        return [view.apply(frame.image) for frame in itertools.islice(source, count)]


def compare_window(
    form: Form, backend: Backend, frames: list[npt.NDArray[np.uint8]], tolerance: float = TOLERANCE
) -> Parity:
    """Windows that follow each other by one frame."""
    parity, width = Parity(tolerance=tolerance), backend.spec.num_frames
    for start in range(len(frames) - width + 1):
        clip = np.stack(frames[start : start + width])
        with similarities(form.module) as seen:
            wanted = form({"frames": torch.from_numpy(clip)[None]})
        parity.see(fields(backend.run_window(clip)), _arrays(wanted), least_margin(seen))
    return parity


def compare_causal(
    form: Form, backend: Backend, frames: list[npt.NDArray[np.uint8]], tolerance: float = TOLERANCE
) -> Parity:
    """Every step from the reference's state, and a free run."""
    parity, width = Parity(tolerance=tolerance), backend.spec.num_frames
    state = {name: value for name, value in form.inputs.items() if name.startswith(STATE)}
    free: NetworkState = backend.initial_state()
    for index, frame in enumerate(frames):
        filled = min(index, width)
        picture, count = torch.from_numpy(frame)[None], torch.tensor([filled])
        with similarities(form.module) as seen:
            wanted = form({"frame": picture, "filled": count, **state})
        given = {name.removeprefix(STATE): value.numpy().copy() for name, value in state.items()}
        _, found = backend.step(SavedNetworkState(arrays=given, frames=0, filled=filled), frame)
        parity.see(fields(found), _arrays(wanted), least_margin(seen))
        free, rolled = backend.step(free, frame)
        for name, value in _arrays(wanted).items():
            parity.rollout[name] = max(parity.rollout.get(name, 0.0), _apart(fields(rolled).get(name), value))
        state = next_state(wanted)
    return parity


def compare_text(form: Form, text: OnnxText, tokens: npt.NDArray[np.int64]) -> Parity:
    """Each text alone in the reference, those of similar length together in the graph."""
    parity, found = Parity(), text.embed_tokens(tokens)
    for row, ids in zip(found, tokens, strict=True):
        wanted = form({"tokens": torch.from_numpy(ids[None, : int(ids.argmax()) + 1])})
        parity.see({"text_embedding": row[None]}, _arrays(wanted), 1.0)
    return parity


def least_margin(similarities: list[Tensor]) -> float:
    """Between a token's two best groups, of the range of all; 1 without groupings."""
    least = 1.0
    for logits in similarities:
        best = logits.topk(2, -2).values
        span = (logits.max() - logits.min()).clamp_min(1e-12)
        least = min(least, float((best[..., 0, :] - best[..., 1, :]).min() / span))
    return least


def next_state(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a step gave, as the next one takes it."""
    return {f"{STATE}{name.removeprefix(NEXT)}": value for name, value in outputs.items() if name.startswith(NEXT)}


def fields(output: NetworkOutput) -> Arrays:
    """By the names that graphs give them, with a batch axis in front."""
    names = ("video_embedding", "entity_embeddings", "entity_probability", "entity_attention")
    found = {name: getattr(output, name) for name in names}
    return {name: value[None] for name, value in found.items() if value is not None}


def _arrays(named: dict[str, Tensor]) -> Arrays:
    return {name: value.numpy() for name, value in named.items() if not name.startswith(NEXT)}


def _apart(found: npt.NDArray[Any] | None, wanted: npt.NDArray[Any]) -> float:
    if found is None or found.shape != wanted.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - wanted).max())
