"""When the frames of a video file are shown, and where its decoding can start (PyAV, extra `train`).

Where the container's index says that frames are evenly spaced, their times follow from it and no picture data is read;
otherwise all packets are read once, not decoded, for their times.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from henasy_stream.errors import UserError
from training.data.records import VideoError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_WITH_INDEX = {"mov", "mp4", "m4a", "3gp", "3g2", "mj2"}


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoIndex:
    """What a file holds.

    pts: (N,) int64 times at which its frames are shown, ascending, in ticks of `time_base` seconds.  keys: (K,) times
    of the frames where decoding can start; in open groups of pictures they may be a few frames early.  fps: mean frame
    rate.  width, height: before any rotation.
    """

    pts: npt.NDArray[np.int64]
    keys: npt.NDArray[np.int64]
    time_base: Fraction
    fps: float
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def duration(self) -> float:
        """Seconds, the last frame's included."""
        return float((self.pts[-1] - self.pts[0]) * self.time_base) + 1 / self.fps

    def nearest(self, seconds: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Numbers of the frames shown closest to these seconds after the first frame."""
        ticks = np.asarray(seconds, np.float64) / float(self.time_base) + self.pts[0]
        after = np.searchsorted(self.pts, ticks).clip(1, max(len(self) - 1, 1))
        before = after - 1
        later = np.minimum(after, len(self) - 1)
        return np.where(ticks - self.pts[before] <= self.pts[later] - ticks, before, later).astype(np.int64)


class AvErrors:
    """Turns the library's errors into VideoError with the file's name."""

    def __init__(self, path: str, av: Any) -> None:
        self.path, self.av = path, av

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, self.av.error.FFmpegError | OSError):
            raise VideoError(self.path, f"{error.strerror or error}") from None


def pyav() -> Any:
    """The library; UserError says how to install it."""
    try:
        import av
    except ImportError:
        raise UserError("decoding training videos needs PyAV: pip install 'henasy-stream[train]'") from None
    return av


@lru_cache(maxsize=256)
def read_index(path: str, mtime_ns: int, size: int, trust_container: bool) -> VideoIndex:
    """The index of a file; its time and size only tell the cache that it is still the same.

    Args:
        path: the file.
        mtime_ns: time of its last change.
        size: in bytes.
        trust_container: take the container's own index where it is complete and even.

    Raises:
        VideoError: missing, no video, or frames without times.
    """
    av = pyav()
    with AvErrors(path, av), av.open(path) as container:
        stream = container.streams.video[0]
        if stream.time_base is None:
            raise VideoError(path, "has no time base")
        times = _even_times(container, stream) if trust_container else None
        pts, keys = times or _packet_times(path, container, stream)
        span = float((pts[-1] - pts[0]) * stream.time_base)
        fps = (len(pts) - 1) / span if span else float(stream.average_rate or stream.base_rate or 1)
        return VideoIndex(
            pts=pts, keys=keys, time_base=stream.time_base, fps=fps, width=stream.width, height=stream.height
        )


def _even_times(
    container: InputContainer, stream: VideoStream
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """Times from the container's own index, if it is complete and evenly spaced; no packet is read."""
    entries = stream.index_entries
    if not _WITH_INDEX & set(container.format.name.split(",")) or len(entries) < 2 or len(entries) != stream.frames:
        return None
    listed = [(entry.timestamp, entry.is_keyframe, entry.is_discard) for entry in entries]
    dts = np.array([time for time, _, _ in listed], np.int64)
    steps = np.diff(dts)
    if stream.start_time is None or any(dropped for *_, dropped in listed) or steps[0] <= 0 or np.ptp(steps):
        return None
    pts = dts - dts[0] + stream.start_time
    return pts, pts[[key for _, key, _ in listed]]


def _packet_times(
    path: str, container: InputContainer, stream: VideoStream
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Times of all packets, read but not decoded."""
    shown = [packet for packet in container.demux(stream) if packet.size and not packet.is_discard]
    if any(packet.pts is None for packet in shown):
        raise VideoError(path, "frames have no time stamps; convert it to mp4")
    if not shown:
        raise VideoError(path, "holds no frames")
    pts = np.unique([packet.pts for packet in shown]).astype(np.int64)
    keys = np.unique([packet.pts for packet in shown if packet.is_keyframe]).astype(np.int64)
    return pts, keys if len(keys) else pts[:1]
