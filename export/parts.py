"""What is exported on request beside the step: its parts as graphs of their own, and a program for torch.export."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor

from export.graphs import Form, dynamic_shapes, nested, quiet, several
from export.half_parity import similarities
from export.parity import Arrays, Parity, least_margin
from henasy_stream.backends.onnxruntime_providers import CPU, open_session
from henasy_stream.errors import UserError

CHAIN = "parts"
"""By this name, how far all parts one after the other are from the step."""


def compare_parts(
    step: Form,
    forms: Mapping[str, Form],
    paths: Mapping[str, Path],
    inputs: Iterable[dict[str, Tensor]],
    tolerance: float,
) -> dict[str, Parity]:
    """Each part on what the reference's parts before it give, its memory included, and all of them in a row.

    Values inside the network have no range: differences are parts of each output's largest value where that is above 1.

    Args:
        step: the reference.
        forms: its parts in float32, in order.
        paths: their graphs.
        inputs: of the step, frame by frame.
        tolerance: see `Parity`.
    """
    sessions = {name: open_session(path, CPU) for name, path in paths.items()}
    found = {name: Parity(tolerance=tolerance) for name in (*forms, CHAIN)}
    for given in inputs:
        known, chained = dict(given), {name: value.numpy() for name, value in given.items()}
        margin = 1.0
        for name, form in forms.items():
            taken = {key: known[key] for key in form.inputs}
            with similarities(form.module) as seen:
                outputs = form(taken)
            margin = min(margin, least_margin(seen))
            known |= outputs
            wanted = {key: value.numpy() for key, value in outputs.items()}
            alone = run(sessions[name], {key: value.numpy() for key, value in taken.items()})
            found[name].see(*scaled(alone, wanted), least_margin(seen))
            chained |= run(sessions[name], {key: chained[key] for key in form.inputs})
        whole = {key: value.numpy() for key, value in step(given).items()}
        found[CHAIN].see(*scaled(chained, whole), margin)
    return found


def run(session: ort.InferenceSession, given: Arrays) -> Arrays:
    """All outputs of a graph, given its inputs in the types that it wants or others."""
    types = {port.name: _TYPES[port.type] for port in session.get_inputs()}
    names = [port.name for port in session.get_outputs()]
    found = session.run(names, {name: value.astype(types[name]) for name, value in given.items()})
    return dict(zip(names, found, strict=True))


_TYPES = {
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
}


def scaled(found: Arrays, wanted: Arrays) -> tuple[Arrays, Arrays]:
    """Both by each output's largest value, where that is above 1; float32."""
    scale = {name: max(1.0, float(np.abs(value).max())) for name, value in wanted.items()}
    return tuple(  # type: ignore[return-value]
        {name: given[name].astype(np.float32) / scale[name] for name in wanted} for given in (found, wanted)
    )


def write_program(form: Form, path: Path, given: dict[str, Tensor], tolerance: float) -> None:
    """Writes a program for `torch.export.load`, as Torch-TensorRT takes it, and compares what it says of one step.

    The node never loads it: `torch.export.load` unpickles what a file asks it to (docs/export.md).

    Args:
        form: of the step.
        path: ends in `.pt2`.
        given: a step's inputs, of any float type.
        tolerance: largest difference, of an output's largest value where that is above 1.

    Raises:
        UserError: what was written says something else.
    """
    given = {name: value.to(form.inputs[name].dtype) for name, value in given.items()}
    with quiet(), torch.no_grad():
        program = torch.export.export(
            form.module, (), kwargs=nested(several(form)), dynamic_shapes=dynamic_shapes(form), strict=False
        )
        whole = io.BytesIO()  # a disk that fills up while torch writes would end the process
        torch.export.save(program, whole)
        path.write_bytes(whole.getvalue())
        found = torch.export.load(path).module()(**nested(given))
    said, wanted = scaled(*({name: value.numpy() for name, value in one.items()} for one in (found, form(given))))
    apart = {name: float(np.abs(said[name] - wanted[name]).max()) for name in wanted}
    if not max(apart.values()) <= tolerance:
        raise UserError(f"{path.name} is not what the network says ({apart}); try another version of PyTorch")
