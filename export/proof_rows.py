"""What the proofs share: rows that are printed and kept, and tools that may be missing, which is never silent."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Row = dict[str, Any]
SKIPPED = "skipped"
"""Key of a row that stands for a tool that is missing: why."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A package in an environment of its own.

    probe: statement that fails without it.  python: of that environment.  target: of `make`, which installs it.
    """

    name: str
    probe: str
    python: Path
    target: str

    def missing(self) -> str | None:
        """Why it cannot be used, in a line, or None."""
        if not self.python.is_file():
            return f"{self.python} does not exist; make {self.target}"
        done = subprocess.run([str(self.python), "-c", self.probe], capture_output=True, text=True, timeout=300)
        if not done.returncode:
            return None
        last = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        return f"{self.python} has no {self.name} ({last[:120]}); make {self.target}"

    def skip(self, reason: str) -> Row:
        """The row of a proof that was not done."""
        return {"tool": self.name, SKIPPED: reason}


def show(title: str, columns: Mapping[str, str], rows: Sequence[Row]) -> None:
    """A table on standard output, and a line for each tool that was skipped.

    Args:
        title: above the table.
        columns: heading → key of the rows.
        rows: those that were skipped have no place in the table.
    """
    table = Table(title=title)
    for heading in columns:
        table.add_column(heading)
    done = [row for row in rows if SKIPPED not in row]
    for row in done:
        table.add_row(*(_told(row.get(key)) for key in columns.values()))
    if done:
        Console(width=160).print(table)
    for row in rows:
        if SKIPPED in row:
            print(f"SKIPPED  {row['tool']}: {row[SKIPPED]}")


def keep(path: Path | None, rows: Sequence[Row]) -> None:
    """Writes the rows to a file, if one is named, in the place of those that tell of the same."""
    if path is None:
        return
    before = json.loads(path.read_text()) if path.exists() else []
    found = {_told_of(row): row for row in (*before, *rows) if SKIPPED not in row}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([*(row for row in rows if SKIPPED in row), *found.values()], indent=1) + "\n")


def _told_of(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(key) for key in ("bundle", "precision", "graph", "case", "runtime", "architecture", "control"))


def _told(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, dict):
        return f"{max(value.values()):.1e}" if value else "–"
    return {True: "yes", False: "NO"}.get(value, str(value)) if isinstance(value, bool) else str(value)
