"""What differs between TensorRT 10, TensorRT 11 and TensorRT for RTX; nothing else here knows which of them it has.

Precision stands in the graph: networks are strongly typed, which TensorRT 11 has as its only kind.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from henasy_stream.backends.tensorrt_flavour import Flavour, architecture, one_line
from henasy_stream.backends.tensorrt_progress import Phases
from henasy_stream.errors import UserError


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

    recordable: whether a step in a stream, given by its handle, can be recorded as a CUDA graph.
    keep_kernels: call it when all has run once; what the runtime has compiled is then there at the next start.
    held: what it was made with, which must live as long.
    """

    engine: Any
    context: Any
    held: tuple[Any, ...]
    recordable: Callable[[int], bool]
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
    runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise UserError(f"{flavour.called} does not load {path}: {_first(log.errors)}; {rebuild}")
    if not flavour.is_rtx:
        config, context = None, engine.create_execution_context()
        keep, recordable = _nothing, _always
    else:
        config = engine.create_runtime_config()
        keep = _kernel_cache(config, path.with_suffix(".kernels"))
        context = engine.create_execution_context(config)
        recordable = context and context.is_stream_capturable
    if context is None:
        raise UserError(f"{flavour.called} cannot execute {path}: {_first(log.errors)}")
    held = (log, runtime, config)
    return OpenEngine(engine=engine, context=context, held=held, recordable=recordable, keep_kernels=keep)


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


def _always(stream: int) -> bool:
    """TensorRT cannot be asked; a recording that fails says so."""
    return True


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
    return one_line(errors[0]) if errors else "no reason given"
