"""Weights as the reference of an export: their network in float32, and what it says on a synthetic stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from export.graphs import Form, forms, part_forms
from export.half_parity import HalfParity, compare_half, similarities
from export.parity import Parity, compare_causal, compare_text, compare_window, least_margin, next_state, pictures
from export.parts import compare_parts, run, scaled
from henasy_stream.backends.onnxruntime_backend import OnnxRuntimeBackend
from henasy_stream.backends.onnxruntime_providers import CPU, open_session
from henasy_stream.backends.torch_backend import read_network, spec_of
from henasy_stream.config import HenasyConfig
from henasy_stream.errors import UserError
from henasy_stream.model.exported import STATE
from henasy_stream.model.henasy import Henasy
from henasy_stream.model.lavila import DualEncoder
from henasy_stream.model.tokenizer import ClipTokenizer
from henasy_stream.types import ModelSpec

PART_STEPS = 24
"""So many frames for the parts, which run twice."""
BATCHES = (1, 2, 8)
TEXTS = ("cup", "a hand picks up the red cup", "#C C puts down the knife on the wooden cutting board", "")


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """Weights, the forms of their network in float32, its parts if they are wanted, and frames to compare them on."""

    model: Henasy | DualEncoder
    config: HenasyConfig
    spec: ModelSpec
    forms: dict[str, Form]
    parts: dict[str, Form]
    frames: list[npt.NDArray[np.uint8]]

    @property
    def step(self) -> Form:
        """The network itself."""
        return self.forms[self.spec.attention]


def read_reference(weights: Path, *, frames: int, batch: bool = False, parts: bool = False) -> Reference:
    """Reads weights.

    Args:
        weights: a .safetensors file.
        frames: of the synthetic stream.
        batch: whether the forms take any number of streams.
        parts: whether the parts are wanted.

    Raises:
        UserError: the file is missing, damaged or of another shape.
    """
    model, config, model_id = read_network(weights)
    spec = spec_of(model_id, config, entities=isinstance(model, Henasy))
    found = {form.name: form for form in forms(model, config, batch=batch)}
    alone = {form.name: form for form in part_forms(model, config, batch=batch)} if parts else {}
    seen = pictures(spec.image_size, frames)
    return Reference(model=model, config=config, spec=spec, forms=found, parts=alone, frames=seen)


def halved(weights: Path, *, batch: bool, parts: bool) -> dict[str, Form]:
    """The forms of the network in half precision, and of its parts if they are wanted, without the text tower."""
    model, config, _ = read_network(weights)
    found = {form.name: form for form in forms(model.half(), config, batch=batch) if form.name != "text"}
    return found | {form.name: form for form in (part_forms(model, config, batch=batch) if parts else ())}


def compare_assignments(reference: Reference, half: Form) -> HalfParity:
    """What half precision does to the assignments; UserError where that is another network."""
    step = reference.step
    found = compare_half(step, half, inputs(step, reference.frames, reference.spec.num_frames))
    if isinstance(reference.model, Henasy) and not found.holds:
        raise UserError(f"half precision is not this network: {found}; export it with --precision fp32")
    return found


def compare(reference: Reference, backend: OnnxRuntimeBackend, folder: Path, tolerance: float) -> dict[str, Parity]:
    """Step, text tower and parts against the reference.

    Raises:
        UserError: one of them is another network.
    """
    spec = reference.spec
    texts = [*TEXTS, *spec.nouns, *spec.phrases[:16]]
    tokens = ClipTokenizer(reference.config.text.context)(texts)
    step = compare_causal if spec.attention == "causal" else compare_window
    parity = {
        spec.attention: step(reference.step, backend, reference.frames, tolerance),
        "text": compare_text(reference.forms["text"], backend.text, tokens),
    }
    if reference.step.sizes:
        see_batches(parity[spec.attention], reference.step, folder / f"{spec.attention}.onnx", reference.frames)
    if reference.parts:
        paths = {name: folder / f"{name}.onnx" for name in reference.parts}
        steps = inputs(reference.step, reference.frames[:PART_STEPS], spec.num_frames)
        parity |= compare_parts(reference.step, reference.parts, paths, steps, tolerance)
    for name, result in parity.items():
        if not result.holds:
            raise UserError(f"{name}: {result.told} ({result.worst})")
    return parity


def inputs(form: Form, frames: list[npt.NDArray[np.uint8]], width: int) -> Iterator[dict[str, torch.Tensor]]:
    """What the reference is given, step by step."""
    if form.name == "window":
        for start in range(len(frames) - width + 1):
            yield {"frames": torch.from_numpy(np.stack(frames[start : start + width]))[None]}
        return
    given = dict(form.inputs)
    for index, frame in enumerate(frames):
        given |= {"frame": torch.from_numpy(frame)[None], "filled": torch.tensor([min(index, width)])}
        yield dict(given)
        given |= next_state(form(given))


def see_batches(parity: Parity, form: Form, path: Path, frames: list[npt.NDArray[np.uint8]]) -> None:
    """Several streams at once, each at another place, with what they remember: into the parity of the step."""
    session = open_session(path, CPU)
    width = form.inputs["frames"].shape[1] if form.name == "window" else frames_remembered(form)
    every = list(inputs(form, frames[: max(BATCHES) + width], width))  # few: each holds a whole memory
    for count in BATCHES:
        rows = [every[index * len(every) // count] for index in range(count)]
        given = {name: torch.cat([row[name] for row in rows], next(iter(form.sizes[name]))) for name in form.inputs}
        with similarities(form.module) as seen:
            wanted = {name: value.numpy() for name, value in form(given).items()}
        found = run(session, {name: value.numpy() for name, value in given.items()})
        parity.see(*scaled(found, wanted), least_margin(seen))


def frames_remembered(form: Form) -> int:
    """T of a causal form."""
    return next(value.shape[0] for name, value in form.inputs.items() if name.startswith(STATE))
