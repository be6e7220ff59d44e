"""Whether the node and what executes its network work here."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib import metadata

from henasy_stream import __version__
from henasy_stream.checks.finding import Finding
from henasy_stream.checks.jetson import jetson

_STEPS = 5
_PACKAGE = "henasy-stream"
_OPTIONAL = ("torch", "safetensors", "onnx", "tensorrt", "tensorrt-rtx", "torch-tensorrt")
_FOR_GPUS = ("tensorrt", "torch-tensorrt")
_NODE = (
    "runtime.node",
    "stream.engine",
    "sources.camera",
    "sources.files",
    "sources.world",
    "sinks.zmq",
    "sinks.window",
)
_RIVALS = {
    "opencv-python": ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "onnxruntime": ("onnxruntime-gpu",),
}
"""Packages that bring the same module: one does as well as another, two overwrite each other's files."""


def libraries() -> list[Finding]:
    """Versions of what is installed of what the package asks for."""
    try:
        asked = [re.split(r"[^\w.-]", line)[0] for line in metadata.requires(_PACKAGE) or () if "extra ==" not in line]
    except metadata.PackageNotFoundError:
        text = "the package itself is not installed; versions were not compared"
        return [Finding(mark="note", about="libraries", text=text, remedy="pip install .")]
    versions = {name: version for name in (*asked, *_OPTIONAL) if (version := _version(name))}
    found = []
    for name, rivals in _RIVALS.items():
        there = {other: version for other in (name, *rivals) if (version := _version(other))}
        versions |= there
        if len(there) > 1:
            text, remedy = f"{' and '.join(there)} overwrite each other's files", f"pip uninstall {' '.join(there)}"
            found.append(
                Finding(mark="note", about="libraries", text=text, remedy=f"{remedy}; then install one of them")
            )
    missing = [name for name in asked if name not in versions and not _has_rival(name, versions)]
    if missing:
        text, remedy = f"{', '.join(missing)} not installed", f"pip install {' '.join(missing)}"
        found.append(Finding(mark="problem", about="libraries", text=text, remedy=remedy))
    listed = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return [Finding(about="libraries", text=listed), *found]


def node() -> list[Finding]:
    """Whether all modules that the node needs can be imported, the network's runtime apart."""
    try:
        for module in _NODE:
            importlib.import_module(f"henasy_stream.{module}")
    except (ImportError, OSError) as error:
        text = " ".join(str(error).split())
        return [Finding(mark="problem", about="node", text=text, remedy=_node_remedy(text))]
    return [Finding(about="node", text=f"{_PACKAGE} {__version__} and all that it imports can be loaded")]


def backend(name: str) -> list[Finding]:
    """Whether a backend runs the demo weights, by a golden step, and how fast."""
    from henasy_stream.backends.probe import attempt
    from henasy_stream.loading import candidates

    if name == "torch" and importlib.util.find_spec("torch") is None:
        text = "not installed; LaViLa's weights and your own need it, bundles do not"
        return [Finding(mark="note", about=name, text=text, remedy=f"pip install '{_PACKAGE}[torch]'")]
    (candidate,) = [found for found in candidates("demo", lambda _: None) if found.name == name]
    tried = attempt(candidate, steps=_STEPS)
    if name in _FOR_GPUS and not tried.opened:
        text, _, remedy = tried.reason.partition("; build it with: ")
        return [Finding(mark="note", about=name, text=text, remedy=remedy)]
    if tried.backend is None:
        remedy = f"pip install --force-reinstall {name}, or {_PACKAGE} where a file of it is named"
        return [Finding(mark="problem", about=name, text=tried.reason, remedy=remedy)]
    text = f"{tried.backend.name} computes the demo's golden step, in {tried.step_ms:.1f} ms"
    return [Finding(about=name, text=text)]


def gpu() -> list[Finding]:
    """Which NVIDIA GPUs the driver shows."""
    board = jetson()
    program = shutil.which("nvidia-smi")
    if program is None:
        return board or [Finding(about="gpu", text="none seen (no nvidia-smi); the network runs on the CPU")]
    query = "--query-gpu=name,driver_version,memory.total"
    asked = subprocess.run([program, query, "--format=csv,noheader"], capture_output=True, text=True, check=False)
    lines = [line.strip() for line in asked.stdout.splitlines() if line.strip()]
    if asked.returncode != 0 or not lines:
        text = f"nvidia-smi fails: {' '.join((asked.stdout + asked.stderr).split())[:160]}"
        return [*board, Finding(mark="note", about="gpu", text=text, remedy="install or reload NVIDIA's driver")]
    return [*board, *(Finding(about="gpu", text=line) for line in lines)]


def _node_remedy(text: str) -> str:
    if "libGL" in text or "libgthread" in text:
        return "apt-get install libgl1 libglib2.0-0"
    return f"pip install --force-reinstall {_PACKAGE}"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _has_rival(name: str, versions: Mapping[str, str]) -> bool:
    return any(rival in versions for rival in _RIVALS.get(name, ()))
