"""Measurements of this machine: `make bench`.

Every module here whose name has no leading underscore has `run() -> Iterator[Result]` and is collected by
`python -m benchmarks`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Result:
    """One row of the table.  `note`: what it was measured on, or what it is compared with."""

    name: str
    value: float
    unit: str
    note: str = ""
