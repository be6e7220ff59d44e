"""What the node costs beside the network: capture, decoding, preprocessing, reading the output, publishing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

import henasy_stream as hs
from benchmarks import Result
from benchmarks._camera import FPS, HEIGHT, WIDTH, pictures
from benchmarks._stub import Replay
from henasy_stream.loading import Model
from henasy_stream.sinks.builder import MessageBuilder
from henasy_stream.sinks.jsonl import JsonlSink
from henasy_stream.sinks.publisher import Publisher
from henasy_stream.sinks.zmq import ZmqSink
from henasy_stream.sources._opencv import one_thread
from henasy_stream.types import NetworkOutput, UInt8Array

FRAMES, PASSES, WARM_UP = 300, 3, 30
SPAN_S = 0.3
"""A window at every third frame, five times as often as the demo's weights ask for."""
AIM_MS = 5.0
STAGES = ("capture and decoding", "preprocess, masks, tracks, caption", "messages, ZeroMQ and record")


def run() -> Iterator[Result]:
    """CPU time of all threads, which other work on the machine disturbs less, and the wall clock beside it."""
    one_thread()  # as the node does
    model, images = hs.load("demo"), pictures(FRAMES)
    outputs, network = _outputs(model, images)
    replay = Replay(model, model.spec, outputs)
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.avi"
        _write(film, images)
        del images
        rows = [row for _ in range(PASSES) for row in list(_frames(Model(replay, model.spec), film))[WARM_UP:]]
    cpu = np.array([row[0] for row in rows]) * 1e3  # (N, stages)
    wall = np.array([row[1] for row in rows]) * 1e3
    fresh = np.array([row[2] for row in rows])
    what = f"{WIDTH}×{HEIGHT} MJPEG file, CPU time"
    for i, stage in enumerate(STAGES):
        for q in (50, 95):
            value = float(np.percentile(cpu[fresh, i], q))
            yield Result(name=f"{stage}, p{q}", value=value, unit="ms", note=f"{what}, frames with a window")
    total = cpu.sum(1)
    for name, chosen in (("frames with a window", fresh), ("all frames", np.ones_like(fresh))):
        for q in (50, 95):
            note = f"aim: p95 at most {AIM_MS:g} ms; {chosen.sum()} frames; wall clock "
            note += f"{np.percentile(wall[chosen].sum(1), q):.2f} ms"
            value = float(np.percentile(total[chosen], q))
            yield Result(name=f"node without network, {name}, p{q}", value=value, unit="ms", note=note)
    ms = float(np.median(network)) * 1e3
    yield Result(name="the network, one window", value=ms, unit="ms", note="CPU time, median, in the same run")
    ratio = float(np.median(total[fresh])) / ms
    yield Result(name="node without network against the network", value=ratio, unit="×", note="medians")
    yield Result(
        name="frames a second of CPU", value=1e3 / float(total.mean()), unit="1/s", note="a window every third"
    )


def _outputs(model: Model, images: list[UInt8Array]) -> tuple[list[NetworkOutput], list[float]]:
    """What the network says of the film, computed before, and the seconds of CPU that each window took."""
    size = model.spec.image_size
    side = min(HEIGHT, WIDTH)
    left = (WIDTH - side) // 2
    small = [
        cv2.resize(i[:, left : left + side], (size, size), interpolation=cv2.INTER_AREA) for i in images[:: FPS // 10]
    ]
    span = model.spec.num_frames
    outputs, seconds = [], []
    for i in range(0, len(small) - span, 4):
        clip = np.stack(small[i : i + span]).astype(np.uint8)
        started = time.thread_time()
        outputs.append(model.run_window(clip))
        seconds.append(time.thread_time() - started)
    return outputs, seconds


def _write(path: Path, images: list[UInt8Array]) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    assert writer.isOpened(), "this OpenCV writes no MJPEG"
    for image in images:
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()


def _frames(model: Model, film: Path) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], bool]]:
    """By frame: seconds of CPU and of the wall clock by stage, and whether a window was due."""
    engine = hs.Engine(model, hs.StreamConfig(span_s=SPAN_S), queries=["cup"])
    state = engine.initial_state()
    sink = ZmqSink("tcp://127.0.0.1:0")
    reader = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.publish", sink.endpoint, "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    if not sink.wait_subscribers(1, timeout_s=60):
        raise RuntimeError("the subscriber did not come")
    publisher = Publisher(MessageBuilder(engine.spec, engine.vocabulary), [sink, JsonlSink(film.with_suffix(".jsonl"))])
    with hs.open_source(str(film)) as source:
        while True:
            clocks = [(time.process_time(), time.perf_counter())]
            frame = next(iter(source), None)
            if frame is None:
                break
            clocks.append((time.process_time(), time.perf_counter()))
            state, perception = engine.step(state, frame)
            clocks.append((time.process_time(), time.perf_counter()))
            publisher.write(perception)
            clocks.append((time.process_time(), time.perf_counter()))
            cpu, wall = np.diff(np.array(clocks), axis=0).T
            yield cpu, wall, perception.fresh
    publisher.close()
    reader.communicate(timeout=60)
