"""How long-running steps tell of their progress."""

from __future__ import annotations

from collections.abc import Callable

Stage = Callable[[str, float], Callable[[float], None]]
"""Begins a stage with its name and size, and gives the function that is told of its progress."""
