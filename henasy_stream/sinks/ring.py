"""The last half minute of a stream, to be saved when somebody has seen something: `ring.mcap()`, `ring.mp4(path)`."""

from __future__ import annotations

import dataclasses
import io
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from henasy_stream.errors import UserError
from henasy_stream.sinks import convert
from henasy_stream.sinks.mcap_stream import McapStream
from henasy_stream.sinks.messages import Message
from henasy_stream.types import Masks, Perception

_MESSAGE_BYTES = 4096  # what a message is taken to hold; JPEG and masks are counted exactly


@dataclass(frozen=True, kw_only=True)
class _Moment:
    """What came in one step.  The picture of `perception` is in `jpeg`; in its place is one of that size, all black."""

    told_ns: int
    monotonic_s: float
    messages: tuple[Message, ...] = ()
    perception: Perception | None = None
    jpeg: bytes = b""
    held_bytes: int = 0


class Ring:
    """Keeps what came in the last seconds: messages as a sink of a publisher, frames as an output of perceptions.

    `send`, `write` and the two ways to save may be called from any thread; saving works on what is there at its start
    and holds nobody up.

    Args:
        seconds: how long something is kept.
        max_bytes: of all pictures, masks and messages; the oldest go first.

    Attributes:
        not_sent: always 0.
    """

    not_sent = 0

    def __init__(self, *, seconds: float = 30.0, max_bytes: int = 200_000_000) -> None:
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._moments: deque[_Moment] = deque()
        self._held_bytes = 0
        self._last_masks: Masks | None = None

    @property
    def held_bytes(self) -> int:
        """How much it holds now, at most `max_bytes`."""
        return self._held_bytes

    def send(self, batch: Sequence[Message]) -> None:
        """Keeps messages."""
        if batch:
            held = _MESSAGE_BYTES * len(batch)
            now, monotonic = time.time_ns(), time.monotonic()
            self._add(_Moment(told_ns=now, monotonic_s=monotonic, messages=tuple(batch), held_bytes=held))

    def write(self, perception: Perception, jpeg: bytes | None = None) -> None:
        """Keeps the frame of a perception and what is drawn on it.

        Args:
            perception: what one step made of a frame.
            jpeg: the frame as a JPEG file, where it has been made already.
        """
        frame = perception.frame
        jpeg = convert.jpeg(frame) if jpeg is None else jpeg
        held = len(jpeg) + _MESSAGE_BYTES
        # Between two hops the masks are the same object, which is held once.
        if perception.masks is not None and perception.masks is not self._last_masks:
            held += perception.masks.probability.nbytes
        self._last_masks = perception.masks
        black = np.broadcast_to(np.zeros(3, np.uint8), frame.image.shape)  # one pixel in memory
        without = dataclasses.replace(perception, frame=dataclasses.replace(frame, image=black))
        now, monotonic = time.time_ns(), time.monotonic()
        self._add(_Moment(told_ns=now, monotonic_s=monotonic, perception=without, jpeg=jpeg, held_bytes=held))

    def close(self) -> None:
        """Lets go of everything."""
        with self._lock:
            self._moments.clear()
            self._held_bytes, self._last_masks = 0, None

    def mcap(self) -> Iterator[bytes]:
        """An MCAP file of what is held, piece by piece, each about a megabyte.

        Raises:
            UserError: the package mcap is not installed.
        """
        out = _Pieces()
        return _mcap(self._snapshot(), McapStream(out), out)

    def mp4(self, path: str | Path, progress: Callable[[int, int], None] | None = None) -> int:
        """Writes the held frames, annotated, into a video file; returns how many.

        Args:
            path: of the file, which is replaced; the suffix chooses the format as for `VideoSink`.
            progress: called with the frames that are written, and all, after each.

        Raises:
            UserError: no frame is held, or the file cannot be written there.
        """
        from henasy_stream.sinks.video import VideoSink

        moments = [moment for moment in self._snapshot() if moment.perception is not None]
        if not moments:
            raise UserError(f"{path}: there is no frame to save yet; wait for the first one")
        problems: list[str] = []
        sink = VideoSink(path, on_problem=problems.append)
        try:
            for done, moment in enumerate(moments, 1):
                sink.write(_with_picture(moment))
                if progress is not None:
                    progress(done, len(moments))
        finally:
            sink.close()
        if problems:
            raise UserError(problems[0])
        return len(moments)

    def _snapshot(self) -> list[_Moment]:
        with self._lock:
            self._forget(time.monotonic())
            return list(self._moments)

    def _add(self, moment: _Moment) -> None:
        with self._lock:
            self._moments.append(moment)
            self._held_bytes += moment.held_bytes
            self._forget(moment.monotonic_s)

    def _forget(self, now: float) -> None:
        while self._moments and (
            self._held_bytes > self._max_bytes or now - self._moments[0].monotonic_s > self._seconds
        ):
            self._held_bytes -= self._moments.popleft().held_bytes


def _mcap(moments: Sequence[_Moment], stream: McapStream, out: _Pieces) -> Iterator[bytes]:
    for moment in moments:
        stream.messages(moment.messages)
        if moment.perception is not None:
            stream.frame(moment.perception.frame, moment.jpeg, moment.told_ns)
            if moment.perception.fresh:
                stream.masks(moment.perception, moment.told_ns)
        yield from out.take()
    stream.finish()
    yield from out.take()


class _Pieces(io.BytesIO):
    """What was written since it was last taken."""

    def __init__(self) -> None:
        super().__init__()
        self._before = 0

    def tell(self) -> int:
        return self._before + super().tell()

    def take(self) -> Iterator[bytes]:
        piece = self.getvalue()
        if piece:
            self._before += len(piece)
            self.seek(0)
            self.truncate()
            yield piece


def _with_picture(moment: _Moment) -> Perception:
    assert moment.perception is not None
    picture = cv2.imdecode(np.frombuffer(moment.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None, "a ring holds whole JPEG files"
    image = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
    return dataclasses.replace(moment.perception, frame=dataclasses.replace(moment.perception.frame, image=image))
