"""How the steps tell of their progress and of what they did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Stage = Callable[[str, float], Callable[[float], None]]
"""Begins a stage with its name and size, and gives the function that is told of its progress."""

Outcome = tuple[dict[str, Any], dict[str, str]]
"""Facts to show, and what could not be read: the reason by file."""
