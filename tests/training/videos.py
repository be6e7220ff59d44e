"""Small videos whose pictures tell their own number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

BITS, CELL = 12, 16
"""A picture is 96 x 32: twelve cells, black or white, spell its number."""

WriteVideo = Callable[..., Path]
Frames = npt.NDArray[np.uint8]


def picture(number: int) -> Frames:
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    cells = np.array(bits, np.uint8).reshape(2, BITS // 2) * 255
    return np.repeat(np.repeat(np.repeat(cells, CELL, 0), CELL, 1)[..., None], 3, 2)


def numbers_of(frames: Frames) -> list[int]:
    """What `picture` was given, of frames of any size."""
    out = []
    for frame in frames:
        height, width = frame.shape[:2]
        rows = (np.arange(2) * 2 + 1) * height // 4
        columns = (np.arange(BITS // 2) * 2 + 1) * width // BITS
        bits = frame[np.ix_(rows, columns)].mean(-1).ravel() > 127
        out.append(int((bits << np.arange(BITS)).sum()))
    return out


def write_frames(
    path: Path,
    frames: int,
    *,
    fps: float = 10,
    first: int = 0,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    faststart: bool = False,
) -> Path:
    """Frames numbered from `first`; `times` in ticks of `time_base` make the rate variable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), "w", options={"movflags": "faststart"} if faststart else {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {"preset": "ultrafast", "g": "25"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = CELL * BITS // 2, 2 * CELL, "yuv420p"
        stream.codec_context.thread_count = 1
        if time_base is not None:
            stream.time_base = stream.codec_context.time_base = time_base
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(first + i), format="rgb24")
            frame.time_base = time_base or 1 / rate
            frame.pts = i if times is None else times[i]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
