"""Which TensorRT there is: TensorRT 10 or 11, or TensorRT for RTX."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any, Literal

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
        """TensorRT for RTX builds for GPUs that are not in this machine, and compiles kernels when they first run."""
        return self.name == "tensorrt_rtx"


def installed() -> bool:
    """Whether one of the modules seems to be there; none is imported."""
    return any(importlib.util.find_spec(name) is not None for name in FLAVOURS)


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
        return f"{_CALLED[name]} cannot be loaded ({one_line(error)}): {_HOW[name]}"
    if name == "tensorrt" and getattr(flavour.module, "_package_name", name) != name:
        return f"{_CALLED[name]} is not installed: {_HOW[name]}"  # Torch-TensorRT lends its name to the other one
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


def one_line(error: object) -> str:
    """What a library said, cut to a length."""
    return " ".join(str(error).split())[:200]
