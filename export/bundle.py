"""Write a bundle: graphs, golden inputs and outputs, and the manifest that says what they are."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
import torch

import henasy_stream
from export.graphs import Form, forms, write_onnx
from export.half_parity import HalfParity, compare_half
from export.parity import (
    ANYTHING,
    HALF_TOLERANCE,
    STEPS,
    TOLERANCE,
    Parity,
    compare_causal,
    compare_text,
    compare_window,
    fields,
    next_state,
    pictures,
)
from henasy_stream.backends.base import Backend
from henasy_stream.backends.bundle import GOLDEN, MANIFEST, SCHEMA, FileSum, Graph, Manifest, sum_of
from henasy_stream.backends.onnxruntime_backend import OnnxRuntimeBackend
from henasy_stream.backends.torch_backend import read_network, spec_of
from henasy_stream.errors import UserError
from henasy_stream.model.henasy import Henasy
from henasy_stream.model.tokenizer import ClipTokenizer

if TYPE_CHECKING:
    from export.int8 import Scores

Precision = Literal["fp32", "fp16", "int8"]
TEXTS = ("cup", "a hand picks up the red cup", "#C C puts down the knife on the wooden cutting board", "")


@dataclass(frozen=True, kw_only=True)
class Written:
    """A bundle and how far each of its graphs is from the reference; half, scores: of a network in fp16 and in int8."""

    folder: Path
    manifest: Manifest
    parity: dict[str, Parity]
    half: HalfParity | None = None
    scores: Scores | None = None


def write_bundle(
    weights: Path,
    folder: Path,
    *,
    precision: Precision = "fp32",
    steps: int = STEPS,
    report: Callable[[str], None] = lambda _: None,
) -> Written:
    """Exports weights into a folder, which appears complete or not at all.

    Args:
        weights: a .safetensors file of HENASY or of a converted LaViLa.
        folder: must not exist yet, or hold a bundle, which is replaced.
        precision: of the network; "fp16" types every tensor, as TensorRT wants it, but for sums and similarities that
            need more; "int8" is for CPUs and for weights that know the synthetic world, whose scores decide.  The text
            tower stays fp32.
        steps: how many steps are compared with the reference.
        report: told what is done.

    Raises:
        UserError: wrong weights, a folder that is in use, or a graph that is not the network.
    """
    if folder.exists() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        raise UserError(f"{folder} holds something else than a bundle; choose another --out")
    building = folder.with_name(f".{folder.name}.{os.getpid()}.building")
    building.mkdir(parents=True)
    try:
        written = _fill(building, weights, precision, steps, report)
        if folder.exists():
            shutil.rmtree(folder)
        building.replace(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return replace(written, folder=folder)


def _fill(folder: Path, weights: Path, precision: Precision, steps: int, report: Callable[[str], None]) -> Written:
    model, config, model_id = read_network(weights)
    spec = spec_of(model_id, config, entities=isinstance(model, Henasy))
    found = {form.name: form for form in forms(model, config)}
    step, frames = found[spec.attention], pictures(spec.image_size, steps)
    half: HalfParity | None = None
    exported = dict(found)
    if precision == "int8" and not (isinstance(model, Henasy) and spec.synthetic):
        raise UserError(
            f"int8 is tried by its scores on the synthetic world, which {model_id} does not know; take fp32"
        )
    if precision == "fp16":
        exported[spec.attention] = next(forms(read_network(weights)[0].half(), config))
        report(f"comparing the assignments of {steps} steps in half precision with the reference's")
        half = compare_half(step, exported[spec.attention], _inputs(step, frames, spec.num_frames))
        if isinstance(model, Henasy) and not half.holds:
            raise UserError(f"half precision is not this network: {half}; export it with --precision fp32")
    graphs: dict[str, Graph] = {}
    for name, form in exported.items():
        report(f"exporting {name}")
        graphs[name] = write_onnx(form, folder / f"{name}.onnx")
    _write_golden(folder / GOLDEN, step, frames[: spec.num_frames])
    manifest = Manifest(
        schema=SCHEMA,
        made_by=_made_by(),
        precision="fp16" if precision == "fp16" else "fp32",
        spec=spec,
        vocabulary_hash=hashlib.sha256("\n".join(spec.nouns).encode()).hexdigest(),
        context=config.text.context,
        graphs=graphs,
        files=_sums(folder),
    )
    _write_manifest(folder, manifest)
    report(f"comparing {steps} steps with the reference")
    backend = OnnxRuntimeBackend.from_bundle(folder)
    tolerance = HALF_TOLERANCE if precision == "fp16" else TOLERANCE
    texts = [*TEXTS, *spec.nouns, *spec.phrases[:16]]
    compare = compare_causal if spec.attention == "causal" else compare_window
    parity = {
        spec.attention: compare(step, backend, frames, tolerance),
        "text": compare_text(found["text"], backend, texts, ClipTokenizer(config.text.context)(texts)),
    }
    for name, result in parity.items():
        if not result.holds:
            raise UserError(f"{name}: {result.told} ({result.worst})")
    scores: Scores | None = None
    if precision == "int8":
        from export.int8 import LARGEST_LOSS, compare_scores, quantise  # needs what the training needs

        assert isinstance(model, Henasy)
        report("quantising, and scoring held-out clips before and after")
        graphs[spec.attention] = quantise(folder, graphs[spec.attention])
        manifest = msgspec.structs.replace(manifest, precision="int8", graphs=graphs, files=_sums(folder))
        _write_manifest(folder, manifest)
        whole, backend = backend, OnnxRuntimeBackend.from_bundle(folder)
        scores = compare_scores(model, whole, backend)
        if not scores.holds:
            raise UserError(f"int8 loses {scores.loss:.3f} of a score, more than {LARGEST_LOSS}; take fp32 ({scores})")
        parity[spec.attention] = compare(step, backend, frames, ANYTHING)
        _write_golden(folder / GOLDEN, step, frames[: spec.num_frames], backend)
        manifest = msgspec.structs.replace(manifest, files=_sums(folder))
    measured = {name: msgspec.structs.replace(graphs[name], parity=result.worst) for name, result in parity.items()}
    manifest = msgspec.structs.replace(manifest, graphs=graphs | measured)
    _write_manifest(folder, manifest)
    return Written(folder=folder, manifest=manifest, parity=parity, half=half, scores=scores)


def _sums(folder: Path) -> dict[str, FileSum]:
    return {path.name: sum_of(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}


def _inputs(form: Form, frames: list[np.ndarray], width: int) -> Iterator[dict[str, torch.Tensor]]:
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


def _write_golden(path: Path, form: Form, frames: list[np.ndarray], backend: Backend | None = None) -> None:
    """Inputs of a step and what the reference makes of them, by which a runtime is tried before it is trusted.

    backend: its outputs instead of the reference's, for a graph that the scores stand for.
    """
    inputs = dict(form.inputs)
    if form.name == "window":
        inputs["frames"] = torch.from_numpy(np.stack(frames))[None]
    else:
        inputs["frame"] = torch.from_numpy(frames[0])[None]
    if backend is None:
        outputs = {name: value.numpy() for name, value in form(inputs).items() if not name.startswith("next.")}
    elif form.name == "window":
        outputs = fields(backend.run_window(np.stack(frames)))
    else:
        outputs = fields(backend.step(backend.initial_state(), frames[0])[1])
    arrays = {f"in.{name}": value.numpy() for name, value in inputs.items() if not name.startswith("state.")}
    np.savez_compressed(path, **arrays, **{f"out.{name}": value for name, value in outputs.items()})


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    (folder / MANIFEST).write_bytes(text + b"\n")


def _made_by() -> str:
    root = Path(__file__).resolve().parents[1]
    try:
        said = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return f"henasy-stream {henasy_stream.__version__}"
    return f"henasy-stream {henasy_stream.__version__} ({said.stdout.strip()})"
