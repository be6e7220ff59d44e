"""Video files in and out through PyAV: upright resized frames with their times, and chunks written whole or not at all.

By default nothing here needs the GPL encoders that PyAV's wheels also carry: "mpeg4" is MPEG-4 part 2 and "vp9" is
libvpx; "h264" (libx264) is taken only when asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from henasy_stream.errors import UserError
from training.data.records import VideoError
from training.data.video_index import AvErrors, pyav

TICKS = 60_000
"""Time base of chunks: frame times of 24, 25, 30, 50, 60 and their 1000/1001 kin are whole numbers of ticks."""

_ENCODERS = {
    "mpeg4": ("mpeg4", {"qmin": "3", "qmax": "4"}),
    "vp9": ("libvpx-vp9", {"crf": "32", "b": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1"}),
    "h264": ("libx264", {"crf": "20", "preset": "fast"}),
}
CODECS = tuple(_ENCODERS)


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoFacts:
    """seconds: length, 0 if the file does not say.  fps: mean rate.  size: upright (H, W) of the pictures."""

    seconds: float
    fps: float
    size: tuple[int, int]


class VideoReader:
    """All frames of one file in order, decoded with as many threads as there are cores.

    Raises:
        VideoError: the file cannot be opened, holds no pictures or breaks off while it is read.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._errors = str(path), AvErrors(str(path), pyav())
        with self._errors:
            self._container: Any = pyav().open(self._path)
        if not self._container.streams.video:
            self._container.close()
            raise VideoError(self._path, "has no video track")
        self._stream: Any = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    def frames(self) -> Iterator[tuple[float, Any]]:
        """(seconds from the first frame, frame as decoded); frames whose time does not grow are left out."""
        first = latest = None
        with self._errors:
            for frame in self._container.decode(self._stream):
                if frame.time is None or (latest is not None and frame.time <= latest):
                    continue
                latest = float(frame.time)
                first = latest if first is None else first
                yield latest - first, frame

    def facts(self) -> VideoFacts:
        """Facts of the file; decodes its first frame, so `frames` needs a reader of its own."""
        stream = self._stream
        seconds = float(stream.duration * stream.time_base) if stream.duration else 0.0
        if not seconds and self._container.duration:
            seconds = self._container.duration / 1e6
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        for _, frame in self.frames():
            turned = frame.rotation % 180 != 0
            size = (frame.width, frame.height) if turned else (frame.height, frame.width)
            return VideoFacts(seconds=seconds, fps=float(rate) if rate else 0.0, size=size)
        raise VideoError(self._path, "no frame can be decoded")


def resized(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """(H, W) with that short side and the same aspect, both even; a smaller picture is not blown up."""
    scale = min(1.0, short_side / min(size))
    height, width = (max(2, 2 * round(side * scale / 2)) for side in size)
    return height, width


def upright(frame: Any, size: tuple[int, int]) -> Any:
    """The frame turned as its file asks and resized to `size` (H, W)."""
    turns = round(frame.rotation / 90) % 4
    height, width = size if turns % 2 == 0 else size[::-1]
    frame = frame.reformat(width=width, height=height, format="yuv420p", interpolation="AREA")
    if turns == 0:
        return frame
    image = np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
    return pyav().VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")


class ChunkWriter:
    """One mp4 file; it takes its name when `close` has written all of it.

    Args:
        path: the file; its folder is created.
        size: (H, W) of the frames, both even.
        fps: mean rate, for key frames once a second.
        codec: one of `CODECS`.

    Raises:
        UserError: PyAV here has no such encoder.
    """

    def __init__(self, path: Path, *, size: tuple[int, int], fps: float, codec: str = "mpeg4") -> None:
        av = pyav()
        self._path, self._part = path, path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        name, options = _ENCODERS[codec]
        rate = Fraction(fps or 30.0).limit_denominator(1001)
        self._container: Any = av.open(str(self._part), "w", format="mp4", options={"movie_timescale": str(TICKS)})
        try:
            self._stream: Any = self._container.add_stream(name, rate=rate, options=dict(options))
        except (ValueError, av.error.FFmpegError) as error:
            self.abandon()
            raise UserError(f"--codec {codec}: PyAV here has no encoder {name}; take mpeg4") from error
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._stream.codec_context.time_base = Fraction(1, TICKS)
        self._stream.codec_context.gop_size = max(1, round(float(rate)))
        self._last = -1

    def add(self, frame: Any, time: float) -> None:
        """Adds a frame of the writer's size at `time` seconds from the start of the chunk."""
        self._last = frame.pts = max(round(time * TICKS), self._last + 1)
        frame.time_base = Fraction(1, TICKS)
        frame.pict_type = 0
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finishes the file and gives it its name."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        self._part.replace(self._path)

    def abandon(self) -> None:
        """Removes what has been written."""
        self._container.close()
        self._part.unlink(missing_ok=True)
