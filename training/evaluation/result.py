"""What an evaluation says: scores beside the paper's, what they rest on, and what was left out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from training.data.chunks import VideoStore
from training.data.records import ClipError
from training.data.tables import checksum
from training.evaluation.embedding import Embedder
from training.evaluation.published import MODELS, Rows

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Result:
    """One evaluation.

    scores: by name, percent; NaN where a score does not exist, and then a note says why.  published: the paper's rows
    under the same names.  files: SHA-256 of every annotation file by its name.  unit: what is scored.  total, scored:
    how many there are and how many of them count in the scores.  unreadable: one line for each clip that could not be
    read.  about: weights and settings.
    """

    task: str
    scores: Mapping[str, float]
    files: Mapping[str, str]
    unit: str
    total: int
    scored: int
    clips: int
    about: Mapping[str, Any]
    published: Rows = field(default_factory=dict)
    unreadable: Sequence[str] = ()
    notes: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """All of it, for `--json`; a score that does not exist is null."""
        return {
            "task": self.task,
            "scores": {name: None if math.isnan(value) else value for name, value in self.scores.items()},
            "published": {model: dict(row) for model, row in self.published.items()},
            "unit": self.unit,
            "total": self.total,
            "scored": self.scored,
            "clips": self.clips,
            "unreadable": list(self.unreadable),
            "notes": list(self.notes),
            "files": dict(self.files),
            "about": dict(self.about),
        }


def checksums(*paths: Path) -> dict[str, str]:
    """SHA-256 of files by their name; UserError for one that is missing."""
    return {path.name: checksum(path) for path in paths}


def lines_of(unreadable: Mapping[int, ClipError]) -> list[str]:
    """One line for each clip that could not be read, in the order of the clips."""
    return [str(unreadable[place]) for place in sorted(unreadable)]


def about(embedder: Embedder, store: VideoStore, **settings: Any) -> dict[str, Any]:
    """What a score rests on besides the annotations."""
    config = embedder.config
    return {
        "weights": embedder.name,
        "weights_sha256": checksum(embedder.path),
        "kind": embedder.kind,
        "frames": config.vision.num_frames,
        "picture": config.vision.image_size,
        "resize": config.preprocess.resize,
        "device": embedder.device.type,
        "videos": store.note,
        **settings,
    }


def show(result: Result) -> None:
    """Print the table, the counts and the checksums."""
    models = [model for model in MODELS if model in result.published]
    print(f"{result.task}: {result.about['weights']}, {result.scored:,} of {result.total:,} {result.unit}")
    table = Table()
    table.add_column("score")
    for model in ("ours", *models):
        table.add_column(model, justify="right")
    for name, value in result.scores.items():
        rows = (result.published[model].get(name) for model in models)
        table.add_row(name, _number(value), *("–" if other is None else f"{other:g}" for other in rows))
    Console().print(table)
    for line in _lines(result):
        print(line)


def write_json(result: Result, path: Path) -> None:
    """Write all of it to a file, whose folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _lines(result: Result) -> list[str]:
    lines = [f"{result.clips:,} clips, {len(result.unreadable):,} of them unreadable and left out"]
    lines += [f"  {line}" for line in result.unreadable[:_SHOWN]]
    if len(result.unreadable) > _SHOWN:
        lines.append(f"  … {len(result.unreadable) - _SHOWN:,} more, all in --json")
    lines += result.notes
    lines += [f"sha256 {digest}  {name}" for name, digest in islice(result.files.items(), _SHOWN)]
    if len(result.files) > _SHOWN:
        lines.append(f"  … {len(result.files) - _SHOWN:,} more files, all in --json")
    return [*lines, "; ".join(f"{name} {value}" for name, value in result.about.items())]


def _number(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value:.2f}"
