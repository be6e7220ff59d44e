"""A causal network that begins where a window network ended.

The two share all weights but those of time: the window network adds a position in the window to every patch, the causal
one a preference by age to every key.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from henasy_stream.model.causal import CausalHenasy


def without_positions_in_time(towers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The towers' weights, names as in `DualEncoder`, for a network whose time is relative.

    Every patch keeps the mean of what the temporal embedding added, so that the blocks meet tokens such as they know.
    """
    state = dict(towers)
    mean = state.pop("visual.temporal_embed").mean(1, keepdim=True)  # (1, 1, D)
    state["visual.pos_embed"] = torch.cat(
        [state["visual.pos_embed"][:, :1], state["visual.pos_embed"][:, 1:] + mean], 1
    )
    return state


def from_window(model: CausalHenasy, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All weights of `model` out of those of a window network of its sizes.

    No age is preferred at first, and the gate of the carried slots is closed.
    """
    tower = {name.removeprefix("towers."): value for name, value in state.items() if name.startswith("towers.")}
    rest = {name: value for name, value in state.items() if not name.startswith("towers.")}
    own = model.state_dict()
    lags = {name: torch.zeros_like(value) for name, value in own.items() if name.startswith("lags.")}
    carry = {name: value for name, value in own.items() if name.startswith("carry.")}
    towers = {f"towers.{name}": value for name, value in without_positions_in_time(tower).items()}
    return {**towers, **rest, **lags, **carry}
