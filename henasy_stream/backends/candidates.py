"""The ways to execute weights; each imports what it needs when it is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from henasy_stream._progress import Bar
from henasy_stream.backends.base import Backend
from henasy_stream.backends.probe import Candidate
from henasy_stream.backends.tensorrt_flavour import installed
from henasy_stream.errors import UserError

BACKENDS = ("auto", "onnxruntime", "torch", "tensorrt", "torch-tensorrt")
CALLED = {"onnxruntime": "ONNX Runtime", "torch": "PyTorch", "tensorrt": "TensorRT", "torch-tensorrt": "Torch-TensorRT"}
Building = Callable[[float, str], None]
"""Told how far an engine is that is built first: the share that is done, and of what."""


def list_candidates(
    name: str,
    bundle: Path | None,
    weights: Callable[[], Path] | None,
    report: Callable[[str], None],
    building: Building | None = None,
) -> tuple[Candidate, ...]:
    """What may execute weights, the preferred first.

    Args:
        name: of the weights, as the user gave it.
        bundle: theirs, if they have one.
        weights: finds or makes their safetensors, if they have any.
        report: told why an engine is built, and which of ONNX Runtime's providers were passed over.
        building: see `Building`.  None: an engine is never built, only used where it is there.
    """
    found = []
    if bundle is not None:
        engine = partial(_run_engine, name, bundle, report, building)
        # Not where nobody has TensorRT, so that nobody hears of it.
        found.append(Candidate(name="tensorrt", open=engine, bundle=bundle, auto=installed()))
        found.append(Candidate(name="onnxruntime", open=partial(_run_bundle, bundle, report), bundle=bundle))
    if weights is not None:
        found.append(Candidate(name="torch", open=partial(_execute, weights), bundle=bundle))
        # It compiles for minutes at every start.
        found.append(Candidate(name="torch-tensorrt", open=partial(_compile, weights), bundle=bundle, auto=False))
    return tuple(found)


def _run_engine(name: str, bundle: Path, report: Callable[[str], None], building: Building | None) -> Backend:
    from henasy_stream.backends.tensorrt_engines import ensure_engine, plan_engine

    plan = plan_engine(name, bundle)
    path = plan.find() if building is None else ensure_engine(plan, report, building)[0]
    from henasy_stream.backends.tensorrt_backend import TensorRTBackend

    return TensorRTBackend(plan, path)


def _run_bundle(bundle: Path, report: Callable[[str], None]) -> Backend:
    try:
        from henasy_stream.backends.onnxruntime_backend import OnnxRuntimeBackend
    except ImportError as error:
        raise UserError(f"bundles need ONNX Runtime ({error}): pip install onnxruntime") from None
    return OnnxRuntimeBackend.best(bundle, report)


def _execute(weights: Callable[[], Path]) -> Backend:
    path = weights()
    with needing_torch():
        from henasy_stream.backends.torch_backend import TorchBackend
    with Bar(f"loading {path.name}", counted="time"):
        return TorchBackend.from_file(path)


def _compile(weights: Callable[[], Path]) -> Backend:
    path = weights()
    with needing_torch():
        from henasy_stream.backends.torch_tensorrt_backend import TorchTensorRTBackend
    with Bar(f"compiling {path.name}", counted="time"):
        return TorchTensorRTBackend.from_file(path)


@contextmanager
def needing_torch() -> Iterator[None]:
    """Turns a missing PyTorch into a UserError."""
    try:
        yield
    except ImportError as error:
        raise UserError(f"this needs PyTorch ({error}): pip install 'henasy-stream[torch]'") from error
