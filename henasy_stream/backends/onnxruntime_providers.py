"""What ONNX Runtime executes graphs with.  What it lists was compiled into it: only a session tells what it took."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from henasy_stream.errors import UserError

_SMALL_BYTES = 64 << 20
"""Smaller graphs are too short for threads."""
_RTX_PLUGIN = "onnxruntime_ep_nv_tensorrt_rtx"


@dataclass(frozen=True, kw_only=True)
class Provider:
    """name: for people.  provider: as the runtime calls it.  device: where its tensors lie.  module: a plugin that
    brings it, None where it is part of the runtime.
    """

    name: str
    provider: str
    device: str
    module: str | None = None


CPU = Provider(name="cpu", provider="CPUExecutionProvider", device="cpu")
CUDA = Provider(name="cuda", provider="CUDAExecutionProvider", device="cuda")
TENSORRT_RTX = Provider(
    name="tensorrt-rtx-cuda", provider="NvTensorRTRTXExecutionProvider", device="cuda", module=_RTX_PLUGIN
)


def listed() -> tuple[Provider, ...]:
    """Those worth a try here, the preferred first: installed, which says nothing of drivers and cards."""
    found = [TENSORRT_RTX] if importlib.util.find_spec(_RTX_PLUGIN) else []
    found += [CUDA] if CUDA.provider in ort.get_available_providers() else []
    return (*found, CPU)


def open_session(path: Path, provider: Provider) -> ort.InferenceSession:
    """A session that executes a graph with a provider, and what that lacks on the CPU.

    Raises:
        UserError: the runtime does not take the graph, or not this provider.
    """
    options = ort.SessionOptions()
    if path.stat().st_size < _SMALL_BYTES:
        options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning takes the cores of others
    options.log_severity_level = 3
    try:
        session = _open(path, options, provider)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - the runtime has no common class for them
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"ONNX Runtime {ort.__version__} does not run {path}: {reason}") from None
    taken = session.get_providers()
    if provider.provider not in taken:
        raise UserError(f"ONNX Runtime {ort.__version__} took {', '.join(taken)} instead of {provider.provider}")
    return session


def _open(path: Path, options: ort.SessionOptions, provider: Provider) -> ort.InferenceSession:
    if provider.module is None:
        # The CPU's is not named beside another: the runtime adds it, for what the other lacks.
        return ort.InferenceSession(str(path), options, providers=[provider.provider])
    plugin = importlib.import_module(provider.module)
    name = plugin.get_ep_name()
    if name not in {device.ep_name for device in ort.get_ep_devices()}:
        ort.register_execution_provider_library(name, plugin.get_library_path())
    devices = [device for device in ort.get_ep_devices() if device.ep_name == name]
    if not devices:
        raise UserError(f"{provider.module} finds no device")
    options.add_provider_for_devices(devices, {})
    return ort.InferenceSession(str(path), options)
