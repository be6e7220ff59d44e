"""Frames of a video file by number, exact against decoding all of it (PyAV, extra `train`).

A file's frames are numbered in the order in which they are shown.  Each decoded frame is known by its own time stamp,
never by counting, so a seek that lands elsewhere can't go unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from training.data.records import VideoError
from training.data.video_index import AvErrors, VideoIndex, pyav, read_index

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Frames = npt.NDArray[np.uint8]


class Video:
    """An open file; a context manager.  Raises VideoError when the file is missing or no video."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._av = pyav()
        with self._errors():
            self._container: InputContainer = self._av.open(self.path)
        if not self._container.streams.video:
            self.close()
            raise VideoError(self.path, "has no video track")
        self._stream: VideoStream = self._container.streams.video[0]
        self._stream.codec_context.thread_count = 1  # several worker processes share the cores
        try:
            self.index = self._index(trust_container=True)
        except VideoError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def __enter__(self) -> Video:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def frames(self, numbers: Sequence[int] | npt.NDArray[np.int64]) -> Frames:
        """(len(numbers), H, W, 3) uint8 RGB, upright; numbers in any order, repeats allowed.

        Raises:
            VideoError: a frame that is damaged or that the file ends before.
            IndexError: a number outside 0..N - 1.
        """
        numbers = np.asarray(numbers, np.int64)
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < len(self.index)):
            raise IndexError(f"frames {numbers.min()}..{numbers.max()} of {self.path}, which has {len(self.index)}")
        try:
            decoded = self._decode(np.unique(self.index.pts[numbers]))
        except _OtherTimesError:
            self.index = self._index(trust_container=False)
            if len(numbers) and numbers.max() >= len(self.index):
                raise VideoError(self.path, f"has {len(self.index)} frames, its index lists more") from None
            decoded = self._decode(np.unique(self.index.pts[numbers]))
        pictures = [decoded[int(pts)] for pts in self.index.pts[numbers]]
        if len({picture.shape for picture in pictures}) > 1:
            raise VideoError(self.path, "changes its picture size on the way")
        return np.stack(pictures)

    def at(self, seconds: Sequence[float] | npt.NDArray[np.float64]) -> Iterator[Frames]:
        """(H, W, 3) uint8 RGB, upright, of the frame nearest to each of these seconds after the first frame.

        One sweep through the file, one picture in memory at a time.

        Args:
            seconds: ascending, repeats allowed.

        Raises:
            VideoError: a frame that is damaged or that the file ends before.
        """
        seconds, place, exact = np.asarray(seconds, np.float64), 0, False
        while place < len(seconds):
            wanted = self.index.pts[self.index.nearest(seconds[place:])]
            try:
                for pts, picture in self._sweep(np.unique(wanted)):
                    for _ in range(int((wanted == pts).sum())):
                        yield picture
                        place += 1
            except _OtherTimesError:
                if exact:
                    raise
                self.index, exact = self._index(trust_container=False), True

    def _decode(self, wanted: npt.NDArray[np.int64]) -> dict[int, Frames]:
        return dict(self._sweep(wanted))

    def _sweep(self, wanted: npt.NDArray[np.int64]) -> Iterator[tuple[int, Frames]]:
        """Time and picture of each of these frames; their times ascend."""
        place = 0
        with self._errors():
            while place < len(wanted):
                for found in self._from_key(wanted[place:]):
                    yield found
                    place += 1

    def _from_key(self, wanted: npt.NDArray[np.int64]) -> Iterator[tuple[int, Frames]]:
        """Decode from the last key frame before the first wanted frame, until a later one is nearer to the next."""
        place, context = 0, self._stream.codec_context
        times = set(wanted.tolist())
        start, packets = self._seek(int(wanted[0]))
        for packet in packets:
            # Frames that no other refers to need no decoding on the way; about half of them with B-frames.
            context.skip_frame = "DEFAULT" if packet.pts is None or packet.pts in times else "NONREF"
            for frame in packet.decode():
                if frame.pts is None or frame.pts < start:
                    continue  # shown before the key frame, refers to frames that were not decoded
                if frame.is_corrupt:
                    raise VideoError(self.path, f"the frame at {self._second(frame.pts)} is damaged")
                if frame.pts < wanted[place]:
                    continue
                if frame.pts > wanted[place]:
                    raise _OtherTimesError(self.path, f"no frame at {self._second(wanted[place])}")
                yield int(frame.pts), _upright(frame)
                place += 1
                if place == len(wanted) or self._key_before(int(wanted[place])) > frame.pts:
                    return
        raise VideoError(self.path, f"ends before the frame at {self._second(wanted[place])}; cut off or damaged")

    def _seek(self, pts: int) -> tuple[int, Iterator[Any]]:
        """Time and packets of a key frame shown at `pts` or before; a container may seek to one that is shown later."""
        target, last = pts, None
        while True:
            self._container.seek(target, stream=self._stream)
            packets = self._container.demux(self._stream)
            first = next(packets)
            if first.pts is not None and first.is_keyframe and first.pts <= pts:
                return first.pts, chain([first], packets)
            if first.dts is None or first.dts == last:
                raise _OtherTimesError(self.path, f"no key frame before {self._second(pts)}")
            last = first.dts
            target = min(target, int(first.dts)) - 1

    def _key_before(self, pts: int) -> int:
        place = int(np.searchsorted(self.index.keys, pts, side="right")) - 1
        return int(self.index.keys[max(place, 0)])

    def _index(self, *, trust_container: bool) -> VideoIndex:
        stat = Path(self.path).stat()
        return read_index(self.path, stat.st_mtime_ns, stat.st_size, trust_container)

    def _second(self, pts: Any) -> str:
        base = self._stream.time_base
        return "an unknown time" if pts is None or base is None else f"{float(pts * base):.3f} s"

    def _errors(self) -> AvErrors:
        return AvErrors(self.path, self._av)


class _OtherTimesError(VideoError):
    """Frames come at other times than the container's index said."""


def _upright(frame: VideoFrame) -> Frames:
    picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    return np.ascontiguousarray(np.rot90(picture, frame.rotation // 90)) if frame.rotation % 360 else picture
