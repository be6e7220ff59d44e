"""The scores of an ablation's runs, read from their files.

Shapes: R rows, S seeds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.ablations.rows import Row, Table
from training.ablations.statistics import Scores

PERCENT = ("inter", "intra", "verb", "noun")


@dataclass(frozen=True, kw_only=True)
class Results:
    """Rows of which every seed has ended.

    scores: by name (R, S); percent where `PERCENT` says so.  towers: the same of the towers alone, (S,).  about: what
    the runs say of themselves.  missing: rows that are not complete.
    """

    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    scores: dict[str, Scores]
    towers: dict[str, Scores]
    about: tuple[dict[str, Any], ...]
    about_towers: tuple[dict[str, Any], ...]
    missing: tuple[Row, ...]

    def mean(self, name: str) -> Scores:
        """(R,)"""
        return self.scores[name].mean(1)

    @property
    def both(self) -> Scores:
        """(R, S) mean of inter and intra."""
        return (self.scores["inter"] + self.scores["intra"]) / 2


def _read(path: Path, split: str) -> tuple[dict[str, Any], dict[str, float]]:
    found = json.loads(path.read_text())
    scores = {name: value * (100 if name in PERCENT else 1) for name, value in found[split].items()}
    return found["about"], scores


def read_results(folder: Path, table: Table) -> Results:
    """All rows of `table` in `folder` that have the seeds that most rows have; none gives no rows."""
    by_row: dict[str, dict[int, tuple[dict[str, Any], dict[str, float]]]] = {}
    for row in table.rows:
        by_row[row.name] = {}
        for path in folder.glob(table.named.format(row=row.name, seed="*")):
            seed = int(path.stem.removeprefix(table.named.partition("{seed}")[0].format(row=row.name)))
            by_row[row.name][seed] = _read(path, table.split)
    seeds = max((tuple(sorted(runs)) for runs in by_row.values()), key=len)
    rows = tuple(row for row in table.rows if seeds and set(seeds) <= set(by_row[row.name]))
    runs = [[by_row[row.name][seed] for seed in seeds] for row in rows]
    names = tuple(runs[0][0][1]) if runs else ()
    towers = [_read(path, table.split) for seed in seeds if (path := folder / f"towers-s{seed}.json").exists()]
    return Results(
        rows=rows,
        seeds=seeds,
        scores={name: np.array([[scores[name] for _, scores in row] for row in runs]) for name in names},
        towers={name: np.array([scores[name] for _, scores in towers]) for name in ("inter", "intra") if towers},
        about=tuple(about for row in runs for about, _ in row),
        about_towers=tuple(about for about, _ in towers),
        missing=tuple(row for row in table.rows if row not in rows),
    )
