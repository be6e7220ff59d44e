"""A scripted source, a backend that can fail, and a screen that remembers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from henasy_stream.loading import Model
from henasy_stream.sources.base import EndOfSource, SourceBase, SourceStatus
from henasy_stream.types import Frame, NetworkOutput, UInt8Array
from tests.stream.fake import FakeBackend, Square, film

CUP = [Square("cup", 60, 80, vx=30)]


class Failing(FakeBackend):
    """Calls `before` with the number of each window; what that raises the network raises.  Warming up is window 1."""

    def __init__(self, before: Callable[[int], None] = lambda window: None, **options: Any) -> None:
        super().__init__(**options)
        self._before = before
        self._calls = 0

    def run_window(self, clip: UInt8Array) -> NetworkOutput:
        self._calls += 1
        self._before(self._calls)
        return super().run_window(clip)


def fake_model(before: Callable[[int], None] = lambda window: None, **options: Any) -> Model:
    backend = Failing(before, **options)
    return Model(backend, backend.spec)


class ScriptedSource(SourceBase):
    """Hands out frames; None is silence, a SourceStatus becomes the status, a callable is called.  Then it ends."""

    def __init__(self, script: Sequence[Any] | None = None) -> None:
        super().__init__("script")
        self._script = list(film(CUP, 2.0) if script is None else script)
        self.closed = False

    def read(self, timeout_s: float = 1.0) -> Frame | None:
        if not self._script:
            raise EndOfSource(self.uri)
        item = self._script.pop(0)
        if isinstance(item, Frame):
            self._frames_in += 1
            return item
        if isinstance(item, SourceStatus):
            self._status = item
        elif item is not None:
            item()
        return None

    def notice(self, text: str) -> None:
        self._notice(text)

    def close(self) -> None:
        self.closed = True
