"""Where frames come from: cameras, stream URLs, video files, image folders, and a synthetic world."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from henasy_stream.sources.base import CameraOptions, EndOfSource, Source, SourceStatus
    from henasy_stream.sources.uri import open_source

__all__ = ["CameraOptions", "EndOfSource", "Source", "SourceStatus", "open_source"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "open_source":
        from henasy_stream.sources import uri

        return uri.open_source
    from henasy_stream.sources import base

    return getattr(base, name)
