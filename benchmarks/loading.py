"""The data loader against decoding alone: the same clips, in turns."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median

import av
import numpy as np

import henasy_stream as hs
from benchmarks import Result
from training.data.chunks import VideoStore
from training.data.clip_reader import ClipReader
from training.data.clip_table import ClipTable
from training.data.loader import ClipLoader
from training.data.records import Clip

VIDEOS, SECONDS, FPS, WIDTH, HEIGHT = 2, 20, 30, 384, 288
CLIPS, CLIP_S, FRAMES, SIZE = 64, 1.0, 4, 224
TURNS = 5


def run() -> Iterator[Result]:
    """Clips a second in one process, where the loader has its cost to itself."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for video in range(VIDEOS):
            _write(root / f"v{video}.mp4", seed=video)
        start = np.random.default_rng(0).uniform(0, SECONDS - CLIP_S - 0.1, CLIPS)
        clips = [Clip(video=f"v{i % VIDEOS}", start=float(at), end=float(at + CLIP_S)) for i, at in enumerate(start)]
        table = ClipTable.of(clips)
        store = VideoStore.open(root, table.videos, report=lambda _: None)
        read = ClipReader(store=store, frames=FRAMES, size=SIZE)

        def load(workers: int) -> None:
            loader = ClipLoader(table=table, read=read, batch=8, workers=workers)
            assert sum(len(batch.rows) for batch in loader.epoch(0)) == CLIPS

        def decode() -> None:
            for clip in clips:
                _decoded(root / f"{clip.video}.mp4", clip)

        load(0)  # the files' indices are kept from here on
        turns = [(_seconds(lambda: load(0)), _seconds(decode)) for _ in range(TURNS)]
        ours, theirs = np.array(turns).T
        note = f"{FRAMES} frames of {CLIP_S:g} s, {WIDTH}×{HEIGHT} H.264 to {SIZE}², 1 process, median of {TURNS} turns"
        yield Result(name="data loader", value=CLIPS / median(ours), unit="clips/s", note=note)
        note = "PyAV: open, seek, decode up to the last frame; in turns with ours"
        yield Result(name="decoding alone", value=CLIPS / median(theirs), unit="clips/s", note=note)
        yield Result(name="data loader against decoding alone", value=median(theirs / ours), unit="×")


def _write(path: Path, seed: int) -> None:
    source = hs.open_source(f"world?seed={seed}&size={WIDTH}x{HEIGHT}&fps={FPS}")
    with source, av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "23"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in islice(source, SECONDS * FPS):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.image, format="rgb24")))
        container.mux(stream.encode())


def _decoded(path: Path, clip: Clip) -> list[np.ndarray]:
    """The middle frames of the clip's quarters."""
    found: list[np.ndarray] = []
    wanted = clip.start + (np.arange(FRAMES) + 0.5) / FRAMES * (clip.end - clip.start)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        assert stream.time_base is not None
        container.seek(int(wanted[0] / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            if frame.time is not None and frame.time >= wanted[len(found)] - 0.5 / FPS:
                found.append(frame.to_ndarray(format="rgb24"))
            if len(found) == FRAMES:
                return found
    raise RuntimeError(f"{path} ends before {clip}")


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
