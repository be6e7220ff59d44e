"""What every source offers: frames with stamps, a status, and remarks for the user."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, TypeVar

from henasy_stream.errors import UserError
from henasy_stream.types import Frame

SourceT = TypeVar("SourceT", bound="SourceBase")


class EndOfSource(Exception):  # noqa: N818 - an end, as StopIteration is, not an error
    """Raised by `Source.read` when no further frame will ever come."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceStatus:
    """Whether frames come in.  `reason` says why not, or why they show nothing; `since_ns` is Unix time of the last
    change of `state`.
    """

    state: Literal["RUNNING", "SOURCE_LOST"]
    reason: str
    since_ns: int


@dataclass(frozen=True, kw_only=True)
class CameraOptions:
    """What to ask a camera for; None leaves the camera's own choice.

    `size` is (width, height) in pixels, `fps` frames per second, `fourcc` the pixel format (`MJPG`, `YUYV`).
    """

    size: tuple[int, int] | None = None
    fps: float | None = None
    fourcc: str | None = None

    def __post_init__(self) -> None:
        if self.size is not None and min(self.size) < 1:
            raise UserError(f"camera size {self.size[0]}x{self.size[1]}: give width x height in pixels, as 1280x720")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise UserError(f"camera rate {self.fps}: give frames per second between 0 and 1000")
        if self.fourcc is not None and len(self.fourcc) != 4:
            raise UserError(f"camera format {self.fourcc!r}: give a code of four letters, as MJPG or YUYV")


class Source(Protocol):
    """Where frames come from.

    `uri` is what the user gave, without credentials.  `live` is True when the newest frame wins and older ones are
    dropped, False when every frame comes in order.  `frames_in` counts the frames that arrived, `dropped` those of them
    that were replaced by a newer one before anybody read them.
    """

    uri: str
    live: bool

    @property
    def frames_in(self) -> int:
        """Frames that arrived."""
        ...

    @property
    def dropped(self) -> int:
        """Frames that were replaced by a newer one before anybody read them."""
        ...

    def read(self, timeout_s: float = 1.0) -> Frame | None:
        """The next frame, or None when a live source has nothing new within the timeout.

        Raises:
            EndOfSource: no further frame will come.
        """
        ...

    @property
    def status(self) -> SourceStatus:
        """Whether frames come in."""
        ...

    @property
    def notices(self) -> tuple[str, ...]:
        """One-line remarks for the user, oldest first; the tuple only grows."""
        ...

    def close(self) -> None:
        """Frees what the source holds; `read` raises `EndOfSource` afterwards."""
        ...

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Frame]: ...


class SourceBase:
    """The part that sources share: counters, notices, iteration, and a status that is RUNNING until told otherwise."""

    live = False

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._frames_in = 0
        self._notices: tuple[str, ...] = ()
        self._status = SourceStatus(state="RUNNING", reason="", since_ns=time.time_ns())

    @property
    def frames_in(self) -> int:
        """See `Source.frames_in`."""
        return self._frames_in

    @property
    def dropped(self) -> int:
        """See `Source.dropped`."""
        return 0

    @property
    def status(self) -> SourceStatus:
        """See `Source.status`."""
        return self._status

    @property
    def notices(self) -> tuple[str, ...]:
        """See `Source.notices`."""
        return self._notices

    def read(self, timeout_s: float = 1.0) -> Frame | None:
        """See `Source.read`."""
        raise NotImplementedError

    def close(self) -> None:
        """Frees what the source holds; `read` raises `EndOfSource` afterwards."""

    def _notice(self, text: str) -> None:
        if text not in self._notices:
            self._notices += (text,)

    def __enter__(self: SourceT) -> SourceT:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        while True:
            try:
                frame = self.read()
            except EndOfSource:
                return
            if frame is not None:
                yield frame
