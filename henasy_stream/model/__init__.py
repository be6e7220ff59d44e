"""The network.  torch is imported here and in `backends/torch_backend.py` only, and only on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from henasy_stream.config import HenasyConfig as HenasyConfig
    from henasy_stream.model.henasy import Henasy as Henasy
    from henasy_stream.model.henasy import HenasyOutput as HenasyOutput
    from henasy_stream.model.lavila import DualEncoder as DualEncoder
    from henasy_stream.model.lavila import load_lavila as load_lavila

_HOMES = {
    "DualEncoder": "lavila",
    "Henasy": "henasy",
    "HenasyOutput": "henasy",
    "load_lavila": "lavila",
}
__all__ = ["DualEncoder", "Henasy", "HenasyConfig", "HenasyOutput", "load_lavila"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "HenasyConfig":
        return import_module("henasy_stream.config").HenasyConfig
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
