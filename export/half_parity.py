"""What half precision does to the assignments, which are argmaxes: similarities before them, and which of them flip.

Raw differences say nothing here, since one token in another group moves everything by as much as it weighs.  So the
similarities are compared where both saw the same tokens, and a flip is allowed only where the reference itself was
undecided (design, "Exactness through an argmax").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from export.graphs import Form
from henasy_stream.model.grouping import TemporalAwareGrouping


@dataclass(frozen=True, kw_only=True)
class Caps:
    """What a precision may do.  error: to a similarity, of the range of all.  flips: of all tokens."""

    error: float
    flips: float


CAPS = {torch.float16: Caps(error=2e-3, flips=5e-3), torch.bfloat16: Caps(error=3e-2, flips=3e-2)}


@dataclass(kw_only=True)
class HalfParity:
    """error: largest, of the similarities' range.  tokens, flips: assignments in all, and those that differ.

    wrong: flips whose margin in the reference is more than twice the error of that step.  caps: of the precision.
    """

    caps: Caps = CAPS[torch.float16]
    error: float = 0.0
    tokens: int = 0
    flips: int = 0
    wrong: int = 0

    @property
    def rate(self) -> float:
        """Flips of all tokens."""
        return self.flips / max(1, self.tokens)

    @property
    def holds(self) -> bool:
        """Whether half precision may stand for the reference."""
        few = self.flips <= 1 or self.rate <= self.caps.flips  # one flip says nothing of a rate
        return self.tokens > 0 and not self.wrong and self.error <= self.caps.error and few

    def see(self, wanted: Tensor, found: Tensor) -> bool:
        """One grouping (…, G, N) of both; True when they agree on every token."""
        difference = (found - wanted).abs().max()
        span = (wanted.max() - wanted.min()).clamp_min(1e-12)
        self.error = max(self.error, float(difference / span))
        flipped = wanted.argmax(-2) != found.argmax(-2)
        best = wanted.topk(2, -2).values
        margin = best[..., 0, :] - best[..., 1, :]
        self.tokens += flipped.numel()
        self.flips += int(flipped.sum())
        self.wrong += int((flipped & (margin > 2 * difference)).sum())
        return not bool(flipped.any())


def compare_half(reference: Form, half: Form, inputs: Iterable[dict[str, Tensor]]) -> HalfParity:
    """Both on the same inputs, which for a causal network hold the reference's state.

    `half` has weights in float16 or bfloat16.
    A grouping is compared as long as no token before it went elsewhere.
    """
    dtype = next(half.module.parameters()).dtype
    parity = HalfParity(caps=CAPS[dtype])
    for given in inputs:
        with similarities(reference.module) as wanted:
            reference(given)
        with similarities(half.module) as found:
            half({name: value.to(dtype) if value.is_floating_point() else value for name, value in given.items()})
        for one, other in zip(wanted, found, strict=True):
            if not parity.see(one, other):
                break
    return parity


@contextmanager
def similarities(module: nn.Module) -> Iterator[list[Tensor]]:
    """A list to which each grouping of a pass adds its similarities, float32, in the order of the pass."""
    seen: list[Tensor] = []

    def look(grouping: nn.Module, given: tuple[Any, ...], _: Any) -> None:
        assert isinstance(grouping, TemporalAwareGrouping)
        queries, inputs = given
        seen.append(grouping.logits(queries, grouping.key(inputs)).float())

    hooks = [part.register_forward_hook(look) for part in module.modules() if isinstance(part, TemporalAwareGrouping)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
