"""Weights as the reference of an export: their network in float32, and what it says on a synthetic stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from export.graphs import Form, forms
from export.half_parity import HalfParity, compare_half
from export.parity import Parity, compare_causal, compare_text, compare_window, next_state, pictures
from henasy_stream.backends.onnxruntime_backend import OnnxRuntimeBackend
from henasy_stream.backends.torch_backend import read_network, spec_of
from henasy_stream.config import HenasyConfig
from henasy_stream.errors import UserError
from henasy_stream.model.henasy import Henasy
from henasy_stream.model.lavila import DualEncoder
from henasy_stream.model.tokenizer import ClipTokenizer
from henasy_stream.types import ModelSpec

TEXTS = ("cup", "a hand picks up the red cup", "#C C puts down the knife on the wooden cutting board", "")


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """Weights, the forms of their network in float32, and the frames that these are compared on."""

    model: Henasy | DualEncoder
    config: HenasyConfig
    spec: ModelSpec
    forms: dict[str, Form]
    frames: list[npt.NDArray[np.uint8]]

    @property
    def step(self) -> Form:
        """The network itself."""
        return self.forms[self.spec.attention]


def read_reference(weights: Path, *, frames: int, batch: bool) -> Reference:
    """Reads weights.

    Args:
        weights: a .safetensors file.
        frames: of the synthetic stream.
        batch: whether the forms take any number of streams.

    Raises:
        UserError: the file is missing, damaged or of another shape.
    """
    model, config, model_id = read_network(weights)
    spec = spec_of(model_id, config, entities=isinstance(model, Henasy))
    found = {form.name: form for form in forms(model, config, batch=batch)}
    return Reference(model=model, config=config, spec=spec, forms=found, frames=pictures(spec.image_size, frames))


def halved(weights: Path, *, batch: bool) -> dict[str, Form]:
    """The forms of the network in half precision, without the text tower."""
    model, config, _ = read_network(weights)
    return {form.name: form for form in forms(model.half(), config, batch=batch) if form.name != "text"}


def compare_assignments(reference: Reference, half: Form) -> HalfParity:
    """What half precision does to the assignments; UserError where that is another network."""
    step = reference.step
    found = compare_half(step, half, inputs(step, reference.frames, reference.spec.num_frames))
    if isinstance(reference.model, Henasy) and not found.holds:
        raise UserError(f"half precision is not this network: {found}; export it with --precision fp32")
    return found


def compare(reference: Reference, backend: OnnxRuntimeBackend, tolerance: float) -> dict[str, Parity]:
    """Step and text tower against the reference.

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
