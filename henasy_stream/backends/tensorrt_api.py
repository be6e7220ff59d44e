"""What differs between TensorRT 10, TensorRT 11 and TensorRT for RTX; nothing else here knows which of them it has.

Precision stands in the graph: networks are strongly typed, which TensorRT 11 has as its only kind.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from henasy_stream.backends.tensorrt_progress import Phases
from henasy_stream.errors import UserError

FlavourName = Literal["tensorrt", "tensorrt_rtx"]
FLAVOURS: tuple[FlavourName, ...] = ("tensorrt", "tensorrt_rtx")
"""Modules, the preferred first: what a Jetson has, then what a desktop can have from PyPI alone."""
_CALLED = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}
_HOW = {
    "tensorrt": "on a Jetson make the environment with --system-site-packages, elsewhere pip install tensorrt",
    "tensorrt_rtx": "pip install tensorrt_rtx (desktop GPUs from RTX 20 on)",
}
_OLDEST = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Flavour:
    """One of the modules, imported."""

    name: FlavourName
    module: Any

    @property
    def version(self) -> str:
        """In full, since engines do not even outlive a patch."""
        return str(self.module.__version__)

    @property
    def called(self) -> str:
        """For people."""
        return f"{_CALLED[self.name]} {self.version}"

    @property
    def is_rtx(self) -> bool:
        """TensorRT for RTX builds for GPUs that are not in this machine, and captures CUDA graphs by itself."""
        return self.name == "tensorrt_rtx"


def load_flavour(wanted: FlavourName | Literal["auto"] = "auto") -> Flavour:
    """The module of a name, or the first that can be imported.

    Raises:
        UserError: it is not installed, its libraries are missing, or it is too old; says how to get it.
    """
    tried = []
    for name in FLAVOURS if wanted == "auto" else (wanted,):
        found = _import(name)
        if isinstance(found, Flavour):
            return found
        tried.append(found)
    raise UserError("; ".join(tried))


def _import(name: FlavourName) -> Flavour | str:
    """The module, or why there is none."""
    try:
        flavour = Flavour(name=name, module=importlib.import_module(name))
    except ModuleNotFoundError:
        return f"{_CALLED[name]} is not installed: {_HOW[name]}"
    except (ImportError, OSError, RuntimeError) as error:  # a library of its own, or of CUDA
        return f"{_CALLED[name]} cannot be loaded ({_line(error)}): {_HOW[name]}"
    if name == "tensorrt" and int(flavour.version.split(".")[0]) < _OLDEST:
        return f"{flavour.called} is too old: this needs {_OLDEST} or newer, as in JetPack 6.1"
    return flavour


def architecture(capability: str) -> str:
    """How the modules name a compute capability: "8.7" is "SM87".

    Raises:
        UserError: it is no such number.
    """
    major, dot, minor = capability.partition(".")
    if not (dot and major.isdecimal() and minor.isdecimal()):
        raise UserError(f"compute capability {capability!r}: give one as in 8.6 (nvidia-smi --query-gpu=compute_cap)")
    return f"SM{int(major)}{int(minor)}"


def check_target(flavour: Flavour, capability: str) -> None:
    """Raises UserError unless it can build for a GPU of this compute capability that is not in this machine."""
    if not flavour.is_rtx:
        raise UserError(f"{flavour.called} builds for the GPU of this machine only; leave --compute-capability out")
    known = flavour.module.ComputeCapability.__members__
    if architecture(capability) not in known:
        there = ", ".join(f"{name[2:-1]}.{name[-1]}" for name in known if name.startswith("SM"))
        raise UserError(f"{flavour.called} builds for compute capability {there}, not for {capability}")


def build_engine(
    flavour: Flavour,
    onnx: Path,
    out: Path,
    capability: str,
    phases: Phases,
) -> None:
    """Builds the engine of a graph and writes it to a file.

    Args:
        flavour: what builds.
        onnx: the graph; its tensors have the types that the engine shall compute in.
        out: the file.
        capability: of the GPU that the engine is for, as in "8.7".
        phases: told how far it is; never, by builders that do not tell.

    Raises:
        UserError: the graph is refused or cannot be built.
    """
    trt = flavour.module
    log = _make_log(trt)
    builder = trt.Builder(log)
    typed = trt.NetworkDefinitionCreationFlag.__members__.get("STRONGLY_TYPED")  # TensorRT 11 need not be told
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(onnx)):
        reasons = [_refusal(parser.get_error(index)) for index in range(parser.num_errors)]
        raise UserError(f"{flavour.called} refuses {onnx}: {_first(reasons or log.errors)}; export it again")
    config = builder.create_builder_config()
    if flavour.is_rtx:
        target = trt.ComputeCapability.__members__.get(architecture(capability), trt.ComputeCapability.CURRENT)
        config.num_compute_capabilities = 1
        config.set_compute_capability(target, 0)
    monitor = _make_monitor(trt, phases)  # must outlive the build
    config.progress_monitor = monitor
    _fix_shapes(builder, network, config)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise UserError(f"{flavour.called} does not build {onnx}: {_first(log.errors)}")
    with out.open("wb") as file:
        file.write(engine)


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenEngine:
    """An engine in memory and what executes it.

    keep_kernels: call it when all has run once; what the runtime has compiled is then there at the next start.
    """

    engine: Any
    context: Any
    keep_kernels: Callable[[], None]


def open_engine(flavour: Flavour, path: Path, rebuild: str) -> OpenEngine:
    """Loads an engine onto the GPU whose context is current.

    Args:
        flavour: what built it.
        path: the engine.
        rebuild: the command that builds it, for the error.

    Raises:
        UserError: this runtime does not take it.
    """
    trt = flavour.module
    log = _make_log(trt)
    engine = trt.Runtime(log).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise UserError(f"{flavour.called} does not load {path}: {_first(log.errors)}; {rebuild}")
    keep = _nothing
    if flavour.is_rtx:  # it compiles its kernels when they first run
        config = engine.create_runtime_config()
        config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        keep = _kernel_cache(config, path.with_suffix(".kernels"))
        context = engine.create_execution_context(config)
    else:
        context = engine.create_execution_context()
    if context is None:
        raise UserError(f"{flavour.called} cannot execute {path}: {_first(log.errors)}")
    return OpenEngine(engine=engine, context=context, keep_kernels=keep)


def _kernel_cache(config: Any, file: Path) -> Callable[[], None]:
    cache = config.create_runtime_cache()
    if file.is_file():
        cache.deserialize(file.read_bytes())  # what does not fit is refused there, and compiled anew
    config.set_runtime_cache(cache)

    def keep() -> None:
        part = file.with_name(f"{file.name}.{os.getpid()}.part")
        with contextlib.suppress(OSError):  # a folder that cannot be written costs time at the next start, no more
            part.write_bytes(memoryview(cache.serialize()))
            part.replace(file)

    return keep


def _nothing() -> None:
    """There is nothing to keep."""


def _fix_shapes(builder: Any, network: Any, config: Any) -> None:
    """One picture or window at a time, where a graph leaves that open."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    open_ = [one for one in inputs if -1 in tuple(one.shape)]
    if open_:
        profile = builder.create_optimization_profile()
        for one in open_:
            shape = tuple(1 if size == -1 else size for size in one.shape)
            profile.set_shape(one.name, shape, shape, shape)
        config.add_optimization_profile(profile)


def _make_log(trt: Any) -> Any:
    """A logger of the module that keeps errors and says nothing."""

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(message)

    return Log()


def _make_monitor(trt: Any, phases: Phases) -> Any:
    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            phases.start(name, parent, steps)

        def step_complete(self, name: str, step: int) -> bool:
            phases.step(name, step)
            return True

        def phase_finish(self, name: str) -> None:
            phases.finish(name)

    return Monitor()


def _refusal(error: Any) -> str:
    return f"node {error.node()} ({error.node_operator()}), {error.desc()}"


def _first(errors: Sequence[str]) -> str:
    return _line(errors[0]) if errors else "no reason given"


def _line(error: object) -> str:
    return " ".join(str(error).split())[:200]
