"""HENASY on live egocentric video: entities that are tracked, actions that are captioned.

    import henasy_stream as hs

    model = hs.load("demo")
    with hs.open_source("world") as source:
        for p in hs.stream(model, source, queries=["cup"]):
            print(p.stamp_ns, p.caption, [(t.id, t.label) for t in p.tracks])

Names are imported when they are first used, so that `import henasy_stream` loads neither NumPy nor torch.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from henasy_stream.annotate import annotate as annotate
    from henasy_stream.config import StreamConfig as StreamConfig
    from henasy_stream.errors import UserError as UserError
    from henasy_stream.loading import Model as Model
    from henasy_stream.loading import load as load
    from henasy_stream.runtime.api import stream as stream
    from henasy_stream.sources import open_source as open_source
    from henasy_stream.stream.engine import Engine as Engine
    from henasy_stream.stream.phrases import VerbNounPairs as VerbNounPairs
    from henasy_stream.stream.state import StreamState as StreamState
    from henasy_stream.types import Caption as Caption
    from henasy_stream.types import Frame as Frame
    from henasy_stream.types import Perception as Perception
    from henasy_stream.types import Relation as Relation
    from henasy_stream.types import Track as Track

_HOMES = {
    "Caption": "types",
    "Engine": "stream.engine",
    "Frame": "types",
    "Model": "loading",
    "Perception": "types",
    "Relation": "types",
    "StreamConfig": "config",
    "StreamState": "stream.state",
    "Track": "types",
    "UserError": "errors",
    "VerbNounPairs": "stream.phrases",
    "annotate": "annotate",
    "load": "loading",
    "open_source": "sources.uri",
    "stream": "runtime.api",
}
"""Where each public name lives."""

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)


class _Package(ModuleType):
    """Keeps `stream` and `annotate` functions, although importing a submodule binds its name in the package."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and name in _HOMES):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
