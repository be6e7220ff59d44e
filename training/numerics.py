"""Arithmetic that every loss shares: float32 whatever the inputs, and means that survive an empty batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")

NORM_FLOOR = 1e-6
"""Floor of a vector's length: a zero slot then has similarity 0 and a finite gradient."""


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """Runs `function` outside autocast with half-precision tensors cast to float32 (float64 stays as it is)."""

    def widen(value: Any) -> Any:
        half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
        return value.float() if half else value

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        # autocast would turn the matrix products back into half precision
        with torch.autocast(tensors[0].device.type, enabled=False):
            return function(*map(widen, args), **{key: widen(value) for key, value in kwargs.items()})

    return wrapper


def normalize(x: Tensor) -> Tensor:
    """L2-normalises the last axis."""
    return F.normalize(x, dim=-1, eps=NORM_FLOOR)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of every row of `a` (..., I, D) with every row of `b` (..., J, D): (..., I, J)."""
    return normalize(a) @ normalize(b).transpose(-1, -2)


def mean_or_zero(x: Tensor) -> Tensor:
    """Mean of all elements; 0, still attached to the graph, when there are none."""
    return x.sum() / max(x.numel(), 1)
