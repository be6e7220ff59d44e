"""From the name of weights to the engine that executes them: which is needed, whether it is there, and building it."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from henasy_stream.backends.bundle import Bundle, Manifest, open_bundle
from henasy_stream.backends.engine_cache import EngineKey, NoEngineError, build_once, engines_folder, find_engine
from henasy_stream.backends.tensorrt_build import build_apart
from henasy_stream.backends.tensorrt_device import open_driver
from henasy_stream.backends.tensorrt_flavour import Flavour, FlavourName, check_target, load_flavour
from henasy_stream.errors import UserError


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """An engine that is wanted.  gpu: which it is for, in words.  command: the one that builds it."""

    bundle: Bundle
    flavour: Flavour
    key: EngineKey
    folder: Path
    gpu: str
    command: str

    @property
    def about(self) -> str:
        """In a line."""
        key = self.key
        return f"{key.model} ({key.graph}, {key.precision}) with {self.flavour.called} for {self.gpu}"

    def find(self) -> Path:
        """The engine's file.  Raises NoEngineError, whose line ends with the command."""
        return find_engine(self.folder, self.key, f"build it with: {self.command}")


def plan_engine(
    weights: str,
    bundle: Path | None,
    flavour: FlavourName | Literal["auto"] = "auto",
    capability: str | None = None,
    folder: Path | None = None,
) -> Plan:
    """What engine the weights need.

    Args:
        weights: as the user named them, for the command.
        bundle: their bundle, if they have one.
        flavour: what builds and executes it.
        capability: as in "8.6", of a GPU that need not be here; None for the one that is.
        folder: of engines; the cache's when None.

    Raises:
        UserError: weights that are no bundle or not for GPUs, no TensorRT, no GPU, or one that it does not build for.
    """
    if bundle is None:
        raise UserError(
            f"TensorRT runs bundles: python export/export.py --weights {weights} --precision fp16 --out bundle/"
        )
    opened = open_bundle(bundle)
    manifest = opened.manifest
    if manifest.precision == "int8":
        raise UserError(f"{bundle} is an int8 bundle, which is for CPUs; export one with --precision fp16")
    chosen = load_flavour(flavour)
    if capability is not None:
        check_target(chosen, capability)
        gpu = f"compute capability {capability}"
    else:
        found = open_driver().gpu()
        capability, gpu = found.capability, f"{found.name}, compute capability {found.capability}"
    graph = manifest.spec.attention
    key = EngineKey(
        model=manifest.spec.model_id,
        graph=graph,
        flavour=chosen.name,
        version=chosen.version,
        compute_capability=capability,
        precision=manifest.precision,
        onnx_sha256=_graph_sum(manifest, graph),
    )
    command = ["henasy", "build-engine", "--weights", weights]
    command += ["--flavour", chosen.name] if chosen.is_rtx else []
    command += [] if folder is None else ["--out", str(folder)]
    return Plan(
        bundle=opened,
        flavour=chosen,
        key=key,
        folder=folder or engines_folder(),
        gpu=gpu,
        command=shlex.join(command),
    )


def ensure_engine(
    plan: Plan,
    report: Callable[[str], None],
    progress: Callable[[float, str], None],
    *,
    force: bool = False,
) -> tuple[Path, bool]:
    """The engine, built if need be, and whether this process built it.

    Args:
        plan: what is wanted.
        report: told why it is built, and that another process is waited for.
        progress: told the share that is done, and of what; first when it is clear that one must be built.
        force: build it although it is there.

    Raises:
        UserError: it cannot be built or kept; in one line.
    """
    if not force:
        try:
            return plan.find(), False
        except NoEngineError as error:
            report(str(error).partition("; build it with")[0])
    progress(0.0, "")  # it may be a while until the builder tells, and longer where another process builds
    built = False

    def build(out: Path, lock: int) -> None:
        nonlocal built
        graph = plan.bundle.path(plan.key.graph)
        build_apart(plan.key.flavour, graph, out, plan.key.compute_capability, progress, lock)
        built = True

    path = build_once(plan.folder, plan.key, build, report, force=force)
    return path, built


def _graph_sum(manifest: Manifest, graph: str) -> str:
    """SHA-256 of a graph: of its file, or of both files where its weights lie beside it."""
    made = manifest.graphs[graph]
    sums = [manifest.files[name].sha256 for name in (made.file, made.data) if name is not None]
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()
