"""Write a bundle: graphs, golden inputs and outputs, and the manifest that says what they are."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from export import contents
from export.graphs import LEAST_OPSET, OPSET, write_onnx
from export.half_parity import HalfParity
from export.operators import LATEST_OPSET
from export.parity import ANYTHING, HALF_TOLERANCE, STEPS, TOLERANCE, Parity
from export.parts import write_program
from export.reference import Reference, compare, compare_assignments, halved, inputs, read_reference
from henasy_stream.backends.bundle import (
    EMBEDDINGS,
    GOLDEN,
    INITIAL,
    MANIFEST,
    SCHEMA,
    Assignments,
    FileSum,
    Graph,
    Manifest,
    Measured,
    open_bundle,
    vocabulary_hash,
)
from henasy_stream.backends.onnxruntime_backend import OnnxRuntimeBackend
from henasy_stream.errors import UserError
from henasy_stream.model.henasy import Henasy

if TYPE_CHECKING:
    from export.int8 import Scores

Precision = Literal["fp32", "fp16", "int8"]
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a bundle shall be.

    precision: of the network; "fp16" types every tensor, as TensorRT wants it, but for sums and similarities that need
    more; "int8" is for CPUs and for weights that know the synthetic world, whose scores decide.  The text tower stays
    fp32.  steps: how many are compared with the reference.  opset: of the graphs.  batch: whether graphs take any
    number of streams at once.  text_of: a bundle beside the new one whose text tower it shares.  parts: whether each
    part of the step becomes a graph as well.  program: whether the step is written for `torch.export.load` as well.
    """

    precision: Precision = "fp32"
    steps: int = STEPS
    opset: int = OPSET
    batch: bool = False
    text_of: str | None = None
    parts: bool = False
    program: bool = False


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
    opset: int = OPSET,
    batch: bool = False,
    text_of: str | None = None,
    parts: bool = False,
    program: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Written:
    """Exports weights into a folder, which appears complete or not at all.

    Args:
        weights: a .safetensors file of HENASY or of a converted LaViLa.
        folder: must not exist yet, or hold a bundle, which is replaced.
        precision: see `Wanted`, as for what follows.
        steps: see there.
        opset: see there.
        batch: see there.
        text_of: see there.
        parts: see there.
        program: see there.
        report: told what is done.

    Raises:
        UserError: wrong weights, a folder that is in use or cannot be written, or a graph that is not the network.
    """
    if not LEAST_OPSET <= opset <= LATEST_OPSET:
        raise UserError(f"opset {opset}: TensorRT 10 knows {LATEST_OPSET} and PyTorch writes {LEAST_OPSET} at least")
    if folder.exists() and not (folder / MANIFEST).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} holds something else than a bundle; choose another --out")
    wanted = Wanted(
        precision=precision,
        steps=steps,
        opset=opset,
        batch=batch,
        text_of=text_of,
        parts=parts,
        program=program,
    )
    asked, folder = folder, folder.absolute()
    building = folder.with_name(f".{folder.name}.{os.getpid()}.building")
    try:
        building.mkdir(parents=True)
        try:
            written = _fill(building, weights, wanted, report)
            if folder.exists():
                shutil.rmtree(folder)
            building.replace(folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        remedy = "free some space or choose another --out" if error.errno in _FULL else "choose another --out"
        raise UserError(f"cannot write {folder}: {error.strerror}; {remedy}") from error
    return replace(written, folder=asked)


def _fill(folder: Path, weights: Path, wanted: Wanted, report: Callable[[str], None]) -> Written:
    reference = read_reference(weights, frames=wanted.steps, batch=wanted.batch, parts=wanted.parts)
    spec, step, frames = reference.spec, reference.step, reference.frames
    if wanted.precision == "int8" and not (isinstance(reference.model, Henasy) and spec.synthetic):
        raise UserError(
            f"int8 is tried by its scores on the synthetic world, which {spec.model_id} does not know; take fp32"
        )
    exported, half = reference.forms | reference.parts, None
    if wanted.precision == "fp16":
        report(f"comparing the assignments of {wanted.steps} steps in half precision with the reference's")
        exported |= halved(weights, batch=wanted.batch, parts=wanted.parts)
        half = compare_assignments(reference, exported[spec.attention])
    shared = _shared(folder, wanted.text_of)
    graphs: dict[str, Graph] = {}
    for name, form in exported.items():
        if name in shared:
            graphs[name] = shared[name][0]
            continue
        report(f"exporting {name}")
        graphs[name] = write_onnx(form, folder / f"{name}.onnx", wanted.opset)
    borrowed = {graph.file: found for graph, found in shared.values()}
    contents.write_golden(folder / GOLDEN, step, reference.forms["text"], frames[: spec.num_frames])
    tolerance = HALF_TOLERANCE if wanted.precision == "fp16" else TOLERANCE
    contents.write_initial(folder / INITIAL, exported[spec.attention])
    contents.write_embeddings(folder / EMBEDDINGS, spec, reference.forms["text"])
    program = f"{spec.attention}.pt2" if wanted.program else None
    if program is not None:
        report(f"writing {program}")
        given = next(itertools.islice(inputs(step, frames, spec.num_frames), 2, None))
        write_program(exported[spec.attention], folder / program, given, tolerance)
    manifest = Manifest(
        schema=SCHEMA,
        made_by=contents.made_by(),
        commit=contents.commit(),
        precision="fp16" if wanted.precision == "fp16" else "fp32",
        spec=spec,
        vocabulary_hash=vocabulary_hash(spec),
        context=reference.config.text.context,
        graphs=graphs,
        files=contents.sums(folder, borrowed),
        assignments=None if half is None else Assignments(error=half.error, tokens=half.tokens, flips=half.flips),
        program=program,
    )
    contents.write_manifest(folder, manifest)
    report(f"comparing {wanted.steps} steps with the reference")
    backend = OnnxRuntimeBackend.from_bundle(folder)
    parity = compare(reference, backend, folder, tolerance)
    scores: Scores | None = None
    if wanted.precision == "int8":
        report("quantising, and scoring held-out clips before and after")
        manifest, scores = _quantised(folder, manifest, reference, backend)
        backend = OnnxRuntimeBackend.from_bundle(folder)
        parity |= compare(reference, backend, folder, ANYTHING)
        contents.write_golden(folder / GOLDEN, step, reference.forms["text"], frames[: spec.num_frames], backend)
    measured = {name: _told(manifest.graphs[name], result) for name, result in parity.items() if name in graphs}
    manifest = msgspec.structs.replace(
        manifest, graphs=manifest.graphs | measured, files=contents.sums(folder, borrowed)
    )
    contents.write_manifest(folder, manifest)
    return Written(folder=folder, manifest=manifest, parity=parity, half=half, scores=scores)


def _shared(folder: Path, text_of: str | None) -> dict[str, tuple[Graph, FileSum]]:
    """The text tower of a bundle beside this one, if it shall be shared."""
    if text_of is None:
        return {}
    lender = open_bundle(folder.parent / text_of)
    graph = lender.manifest.graphs["text"]
    return {"text": (graph, msgspec.structs.replace(lender.manifest.files[graph.file], beside=text_of))}


def _quantised(
    folder: Path, manifest: Manifest, reference: Reference, whole: OnnxRuntimeBackend
) -> tuple[Manifest, Scores]:
    """The bundle with its step in whole numbers, if the scores allow it."""
    from export.int8 import LARGEST_LOSS, compare_scores, quantise  # needs what the training needs

    assert isinstance(reference.model, Henasy)
    name = reference.spec.attention
    graph = quantise(folder, manifest.graphs[name])
    borrowed = {file: found for file, found in manifest.files.items() if found.beside is not None}
    manifest = msgspec.structs.replace(
        manifest,
        precision="int8",
        graphs=manifest.graphs | {name: graph},
        files=contents.sums(folder, borrowed),
    )
    contents.write_manifest(folder, manifest)
    scores = compare_scores(reference.model, whole, OnnxRuntimeBackend.from_bundle(folder))
    if not scores.holds:
        raise UserError(f"int8 loses {scores.loss:.3f} of a score, more than {LARGEST_LOSS}; take fp32 ({scores})")
    return manifest, scores


def _told(graph: Graph, parity: Parity) -> Graph:
    measured = Measured(
        steps=parity.steps,
        flips=parity.flips,
        tolerance=parity.tolerance,
        worst=parity.worst,
        rollout=parity.rollout,
    )
    return msgspec.structs.replace(graph, parity=measured)
