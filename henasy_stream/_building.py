"""How far an engine is that is built before anything can run."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from henasy_stream._progress import Bar


class BuildBar:
    """A context manager whose bar appears when it is first called, which it is if something must be built.

    Args:
        open_bar: makes the bar, which counts shares.
    """

    def __init__(self, open_bar: Callable[[], Bar]) -> None:
        self._open_bar = open_bar
        self._bar: Bar | None = None

    def __enter__(self) -> BuildBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)

    def __call__(self, share: float, phase: str) -> None:
        """So much of it is done, 0 to 1; `phase` is what is being done."""
        if self._bar is None:
            self._bar = self._open_bar().__enter__()
        self._bar.show(share, 1.0, f"({phase})" if phase else "")


def build_bar(report: Callable[[str], None]) -> BuildBar:
    """On stderr; `report` takes a line now and then where there is no terminal."""
    return BuildBar(lambda: Bar("building", lambda line: report(f"building: {line}"), counted="shares"))
