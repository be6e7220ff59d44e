"""The files of a bundle that are no graphs: golden step, initial state, embeddings, manifest."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch

import henasy_stream
from export.graphs import Form
from export.parity import fields
from henasy_stream.backends.base import Backend
from henasy_stream.backends.bundle import (
    MANIFEST,
    FileSum,
    Manifest,
    sum_of,
    vocabulary_hash,
)
from henasy_stream.model.exported import NEXT, STATE
from henasy_stream.model.tokenizer import ClipTokenizer
from henasy_stream.stream.queries import FALLBACK_RIVALS
from henasy_stream.stream.text_cache import PROBE
from henasy_stream.stream.texts import HAND
from henasy_stream.types import ModelSpec

GOLDEN_TEXT = "#C C puts the wooden spoon down"
"""Asked of the text tower itself: no embedding of it travels along."""
_ROOT = Path(__file__).resolve().parents[1]
_MAKES_BUNDLES = (
    *(f"export/{name}.py" for name in ("bundle", "contents", "graphs", "int8", "parity", "reference")),
    "henasy_stream/backends/bundle.py",
    "henasy_stream/config.py",
    "henasy_stream/model",
)


def write_golden(
    path: Path, step: Form, text: Form, frames: Sequence[npt.NDArray[np.uint8]], backend: Backend | None = None
) -> None:
    """Inputs of a step and of a text, and what the reference makes of them, by which a runtime is tried before use.

    backend: its outputs of the step instead of the reference's, for a graph that the scores stand for.
    """
    inputs = dict(step.inputs)
    if step.name == "window":
        inputs["frames"] = torch.from_numpy(np.stack(frames))[None]
    else:
        inputs["frame"] = torch.from_numpy(frames[0])[None]
    if backend is None:
        outputs = {name: value.numpy() for name, value in step(inputs).items() if not name.startswith(NEXT)}
    elif step.name == "window":
        outputs = fields(backend.run_window(np.stack(frames)))
    else:
        outputs = fields(backend.step(backend.initial_state(), frames[0])[1])
    arrays = {f"in.{name}": value.numpy() for name, value in inputs.items() if not name.startswith(STATE)}
    outputs |= {"text_embedding": _embedded(text, [GOLDEN_TEXT])}
    arrays |= {"in.text": np.array(GOLDEN_TEXT)} | {f"out.{name}": value for name, value in outputs.items()}
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type] # its stub takes flags by the same way


def write_initial(path: Path, step: Form) -> None:
    """The memory of a stream that has seen nothing; no file for a network without one."""
    state: dict[str, Any] = {name: value.numpy() for name, value in step.inputs.items() if name.startswith(STATE)}
    if state:
        np.savez_compressed(path, **state)


def write_embeddings(path: Path, spec: ModelSpec, text: Form) -> None:
    """The texts that a node needs at its start, embedded by the reference."""
    background = () if spec.background is None else (spec.background,)
    every = (*spec.nouns, HAND, *background, *spec.verbs, *spec.phrases, *FALLBACK_RIVALS, PROBE)
    texts = [word for word in dict.fromkeys(every) if word != GOLDEN_TEXT]
    np.savez_compressed(
        path,
        texts=np.array(texts),
        vectors=_embedded(text, texts),
        vocabulary_hash=np.array(vocabulary_hash(spec)),
    )


def _embedded(text: Form, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    tokens = ClipTokenizer(text.module.get_parameter("text.positional_embedding").shape[0])(list(texts))
    rows = [text({"tokens": torch.from_numpy(ids[None, : int(ids.argmax()) + 1])})["text_embedding"] for ids in tokens]
    return torch.cat(rows).numpy()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Keys and lists in the same order every time."""
    text = msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1)
    (folder / MANIFEST).write_bytes(text + b"\n")


def sums(folder: Path, shared: Mapping[str, FileSum]) -> dict[str, FileSum]:
    """Of all files that lie in a folder, and of those that it shares with another bundle."""
    own = {path.name: sum_of(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    return own | dict(shared)


def commit() -> str:
    """The git id of what makes bundles, with "-dirty" where it was changed since; "unknown" without git."""
    try:
        found = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", *_MAKES_BUNDLES)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{found}-dirty" if changed else found


def made_by() -> str:
    """Name and version of the exporter."""
    return f"henasy-stream {henasy_stream.__version__}"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
