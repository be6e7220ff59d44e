"""What the reference is given and says, step by step, for a runtime that lives in another environment."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from export.graphs import Form
from export.half_parity import similarities
from export.parity import Parity, least_margin, next_state
from henasy_stream.errors import UserError
from henasy_stream.model.exported import NEXT, STATE

Arrays = dict[str, npt.NDArray[Any]]
WORKER = Path(__file__).with_name("graph_run.py")
_TIMEOUT_S = 1800


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """Inputs and outputs of the reference by name, without those that are the next step's state.

    margin: between a token's two best groups, the least of the step.  empty: groups that no token chose, of groups.
    """

    inputs: Arrays
    wanted: Arrays
    margin: float
    empty: tuple[int, int] = (0, 0)


def record_window(form: Form, frames: list[npt.NDArray[np.uint8]], width: int) -> Iterator[Step]:
    """Windows that follow each other by one frame."""
    for start in range(len(frames) - width + 1):
        clip = torch.from_numpy(np.stack(frames[start : start + width]))[None]
        yield _step(form, {"frames": clip})[0]


def record_causal(form: Form, frames: list[npt.NDArray[np.uint8]], width: int) -> Iterator[Step]:
    """One frame after the other, each from the state that the reference has by then."""
    state = {name: value for name, value in form.inputs.items() if name.startswith(STATE)}
    for index, frame in enumerate(frames):
        filled = torch.tensor([min(index, width)])
        step, outputs = _step(form, {"frame": torch.from_numpy(frame)[None], "filled": filled, **state})
        state = next_state(outputs)
        yield step


def record_text(form: Form, tokens: npt.NDArray[np.int64]) -> Iterator[Step]:
    """Each text at its true length."""
    for ids in tokens:
        yield _step(form, {"tokens": torch.from_numpy(ids[None, : int(ids.argmax()) + 1])})[0]


def run_elsewhere(
    python: Path,
    runtime: str,
    graph: Path,
    steps: Sequence[Step],
    dtypes: Mapping[str, str],
    state: Mapping[str, str] | None = None,
) -> tuple[list[Arrays], list[Arrays], str]:
    """The outputs of a graph from the reference's state, those of its free run (none without state), and the version.

    Args:
        python: of an environment that has the runtime.
        runtime: "openvino" or "onnxruntime".
        graph: an ONNX file.
        steps: whose inputs are taken.
        dtypes: of the graph's inputs.
        state: which output is which input of the next step.

    Raises:
        UserError: the runtime is not there, or does not take the graph.
    """
    with tempfile.TemporaryDirectory() as scratch:
        given, found = Path(scratch) / "steps.npz", Path(scratch) / "found.npz"
        _save(given, steps, dtypes)
        about = {"runtime": runtime, "graph": str(graph), "state": dict(state or {})}
        asked = json.dumps({**about, "steps": str(given), "found": str(found)})
        done = subprocess.run(
            [str(python), str(WORKER)], input=asked + "\n", capture_output=True, text=True, timeout=_TIMEOUT_S
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason"])[-1]
            raise UserError(f"{runtime} did not run {graph.name} ({last[:200]})")
        with np.load(found) as outputs:
            named = dict(outputs)
    version = json.loads(done.stdout.splitlines()[-1])["version"]
    forced, free = ([_of(named, f"{kind}/{index}/") for index in range(len(steps))] for kind in ("forced", "free"))
    return forced, [row for row in free if row], version


def compare(steps: list[Step], forced: list[Arrays], free: list[Arrays], tolerance: float) -> Parity:
    """By the rule that the export keeps, with the free run beside it."""
    parity = Parity(tolerance=tolerance)
    for step, found in zip(steps, forced, strict=True):
        parity.see(found, step.wanted, step.margin)
    for step, found in zip(steps, free, strict=False):
        for name, value in step.wanted.items():
            apart = float(np.abs(found[name] - value).max())
            parity.rollout[name] = max(parity.rollout.get(name, 0.0), apart)
    return parity


def _step(form: Form, inputs: dict[str, Tensor]) -> tuple[Step, dict[str, Tensor]]:
    with similarities(form.module) as seen:
        outputs = form(inputs)
    chosen = [logits.argmax(-2) for logits in seen]
    sizes = [logits.shape[-2] for logits in seen]
    full = sum(int(groups.unique().numel()) for rows in chosen for groups in rows.flatten(0, -2))
    total = sum(size * rows.flatten(0, -2).shape[0] for size, rows in zip(sizes, chosen, strict=True))
    step = Step(
        inputs={name: value.numpy().copy() for name, value in inputs.items()},
        wanted={name: value.numpy() for name, value in outputs.items() if not name.startswith(NEXT)},
        margin=least_margin(seen),
        empty=(total - full, total),
    )
    return step, outputs


def _save(path: Path, steps: Sequence[Step], dtypes: Mapping[str, str]) -> None:
    arrays: Arrays = {}
    for index, step in enumerate(steps):
        arrays |= {f"{index}/{name}": value.astype(dtypes[name]) for name, value in step.inputs.items()}
    np.savez(path, **arrays)  # type: ignore[arg-type]


def _of(named: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
