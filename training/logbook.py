"""What a run leaves to read: `log.jsonl`, a line for every logged step, and TensorBoard's events on request."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from henasy_stream.errors import UserError


def check_tensorboard() -> None:
    """Raises UserError where TensorBoard isn't installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError("--tensorboard needs the package tensorboard: pip install 'henasy-stream[train]'")


class Logbook:
    """Writes into the folder of a run.

    done: steps that the run goes on from; what a killed run logged beyond them is dropped, as it will come again.
    """

    def __init__(self, out: Path, done: int, *, tensorboard: bool = False) -> None:
        self._path = out / "log.jsonl"
        if self._path.exists():
            lines = self._path.read_text().splitlines(keepends=True)
            kept = [line for line in lines if _step(line) <= done]
            beside = self._path.with_name(".log.jsonl")
            beside.write_text("".join(kept))
            beside.replace(self._path)
        self._board: Any = None
        if tensorboard:
            check_tensorboard()
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(out / "tensorboard"), purge_step=done + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add a step."""
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()


def _step(line: str) -> float:
    """Of a line; infinite for one that a kill cut off."""
    try:
        return json.loads(line)["step"] if line.endswith("\n") else float("inf")
    except (ValueError, KeyError, TypeError):
        return float("inf")
