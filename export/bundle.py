"""Write a bundle: graphs, golden inputs and outputs, and the manifest that says what they are."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch

import henasy_stream
from export.graphs import Form, forms, write_onnx
from export.parity import STEPS, Parity, compare_causal, compare_text, compare_window, pictures
from henasy_stream.backends.bundle import GOLDEN, MANIFEST, SCHEMA, Graph, Manifest, sum_of
from henasy_stream.backends.onnxruntime_backend import OnnxRuntimeBackend
from henasy_stream.backends.torch_backend import read_network, spec_of
from henasy_stream.config import HenasyConfig
from henasy_stream.errors import UserError
from henasy_stream.model.henasy import Henasy
from henasy_stream.model.tokenizer import ClipTokenizer

TEXTS = ("cup", "a hand picks up the red cup", "#C C puts down the knife on the wooden cutting board", "")


@dataclass(frozen=True, kw_only=True)
class Written:
    """A bundle and how far each of its graphs is from the reference."""

    folder: Path
    manifest: Manifest
    parity: dict[str, Parity]


def write_bundle(
    weights: Path, folder: Path, *, steps: int = STEPS, report: Callable[[str], None] = lambda _: None
) -> Written:
    """Exports weights into a folder, which appears complete or not at all.

    Args:
        weights: a .safetensors file of HENASY or of a converted LaViLa.
        folder: must not exist yet, or hold a bundle, which is replaced.
        steps: how many steps are compared with the reference.
        report: told what is done.

    Raises:
        UserError: wrong weights, a folder that is in use, or a graph that is not the network.
    """
    if folder.exists() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        raise UserError(f"{folder} holds something else than a bundle; choose another --out")
    model, config, model_id = read_network(weights)
    building = folder.with_name(f".{folder.name}.{os.getpid()}.building")
    building.mkdir(parents=True)
    try:
        written = _fill(building, model, config, model_id, steps, report)
        if folder.exists():
            shutil.rmtree(folder)
        building.replace(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Written(folder=folder, manifest=written.manifest, parity=written.parity)


def _fill(
    folder: Path, model: torch.nn.Module, config: HenasyConfig, model_id: str, steps: int, report: Callable[[str], None]
) -> Written:
    found = {form.name: form for form in forms(model, config)}  # type: ignore[arg-type]
    graphs: dict[str, Graph] = {}
    for name, form in found.items():
        report(f"exporting {name}")
        graphs[name] = write_onnx(form, folder / f"{name}.onnx")
    spec = spec_of(model_id, config, entities=isinstance(model, Henasy))
    step = found[spec.attention]
    frames = pictures(spec.image_size, steps)
    _write_golden(folder / GOLDEN, step, frames[: spec.num_frames])
    manifest = Manifest(
        schema=SCHEMA,
        made_by=_made_by(),
        spec=spec,
        vocabulary_hash=hashlib.sha256("\n".join(spec.nouns).encode()).hexdigest(),
        context=config.text.context,
        graphs=graphs,
        files={path.name: sum_of(path) for path in sorted(folder.iterdir())},
    )
    _write_manifest(folder, manifest)
    report(f"comparing {steps} steps with the reference")
    backend = OnnxRuntimeBackend.from_bundle(folder)
    compare = compare_causal if spec.attention == "causal" else compare_window
    texts = [*TEXTS, *spec.nouns, *spec.phrases[:16]]
    parity = {
        spec.attention: compare(step, backend, frames),
        "text": compare_text(found["text"], backend, texts, ClipTokenizer(config.text.context)(texts)),
    }
    for name, result in parity.items():
        if not result.holds:
            raise UserError(f"{name}: {result.wrong} of {result.steps} steps are not the network's ({result.worst})")
    measured = {name: msgspec.structs.replace(graphs[name], parity=result.worst) for name, result in parity.items()}
    manifest = msgspec.structs.replace(manifest, graphs=graphs | measured)
    _write_manifest(folder, manifest)
    return Written(folder=folder, manifest=manifest, parity=parity)


def _write_golden(path: Path, form: Form, frames: list[np.ndarray]) -> None:
    """Inputs of a step and what the reference makes of them, by which a runtime is tried before it is trusted."""
    inputs = dict(form.inputs)
    if form.name == "window":
        inputs["frames"] = torch.from_numpy(np.stack(frames))[None]
    else:
        inputs["frame"] = torch.from_numpy(frames[0])[None]
    arrays = {f"in.{name}": value.numpy() for name, value in inputs.items() if not name.startswith("state.")}
    arrays |= {f"out.{name}": value.numpy() for name, value in form(inputs).items() if not name.startswith("next.")}
    np.savez_compressed(path, **arrays)


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
