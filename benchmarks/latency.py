"""How old a frame is when its result is there: our node to a subscriber, and loops that people write with OpenCV."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

import henasy_stream as hs
from benchmarks import Result
from benchmarks._camera import FPS, PacedCamera, jpegs, pictures
from henasy_stream.loading import Model
from henasy_stream.runtime.loop import Pace, run_loop
from henasy_stream.runtime.monitor import Monitor
from henasy_stream.runtime.outputs import Outputs
from henasy_stream.runtime.stopping import StopOnSignal
from henasy_stream.sinks.builder import MessageBuilder
from henasy_stream.sinks.publisher import Publisher
from henasy_stream.sinks.zmq import ZmqSink
from henasy_stream.sources._connection import Connection, Limits
from henasy_stream.sources._live import LiveSource

SPAN_S = 0.3
"""Shorter than the demo's, so that a window is due at every third frame and percentiles have something to count."""
SECONDS, TURNS, FILM = 8.0, 3, 60

Float64Array = npt.NDArray[np.float64]


def run() -> Iterator[Result]:
    """The three take turns; all have the same model on one thread, and read the same camera."""
    model, encoded = hs.load("demo"), jpegs(pictures(FILM))
    found: dict[str, list[Float64Array]] = {}
    for _ in range(TURNS):
        found.setdefault("node", []).append(_node(model, encoded))
        found.setdefault("plain loop", []).append(_plain(model, encoded, every_frame=False))
        found.setdefault("plain loop, every frame", []).append(_plain(model, encoded, every_frame=True))
    values = {name: np.concatenate(turns) for name, turns in found.items()}
    what = {
        "node": "1280×720 JPEG camera to a ZeroMQ subscriber in another process",
        "plain loop": "OpenCV: read, infer when the node does, print",
        "plain loop, every frame": "OpenCV: read, infer on every frame, print",
    }
    for name, ages in values.items():
        for q in (50, 95, 99):
            note = f"{what[name]}; {len(ages)} results at {FPS} fps" if q == 50 else ""
            yield Result(name=f"{name}, age p{q}", value=float(np.percentile(ages, q)), unit="ms", note=note)
    for q in (50, 95):
        ratio = float(np.percentile(values["node"], q) / np.percentile(values["plain loop"], q))
        yield Result(name=f"node against plain loop, p{q}", value=ratio, unit="×")


def _node(model: Model, encoded: list[npt.NDArray[np.uint8]]) -> Float64Array:
    """Milliseconds from capture to receipt in another process, by result."""
    engine = hs.Engine(model, hs.StreamConfig(span_s=SPAN_S))
    engine.warm_up()
    sink = ZmqSink("tcp://127.0.0.1:0")
    reader = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.latency", sink.endpoint], stdout=subprocess.PIPE, text=True
    )
    if not sink.wait_subscribers(1, timeout_s=60):
        raise RuntimeError("the subscriber did not come")
    stop, outputs = StopOnSignal(), Outputs(lambda line: print(line, file=sys.stderr))
    outputs.add("messages", Publisher(MessageBuilder(engine.spec, engine.vocabulary), [sink]))

    def connect() -> Connection:
        return Connection(capture=PacedCamera(encoded), device_time=True)

    with LiveSource("camera:bench", connect, what="camera", limits=Limits()) as source:
        until = time.monotonic() + SECONDS
        outputs.add("clock", _StopsAt(until, stop))
        run_loop(source, engine, outputs, Monitor(source), stop, print, Pace())
    outputs.close()
    said, _ = reader.communicate(timeout=60)
    return np.array(json.loads(said))


class _StopsAt:
    """An output that ends the loop."""

    def __init__(self, until: float, stop: StopOnSignal) -> None:
        self._until, self._stop = until, stop

    def write(self, perception: hs.Perception) -> None:
        """Looks at the clock."""
        if time.monotonic() > self._until:
            self._stop.request("enough")

    def close(self) -> None:
        """Nothing to finish."""


def _plain(model: Model, encoded: list[npt.NDArray[np.uint8]], *, every_frame: bool) -> Float64Array:
    """The same in milliseconds to the end of `print`."""
    spec = model.spec
    phrases = model.embed_texts(spec.phrases)
    period_ns = SPAN_S * 1e9 / (spec.num_frames - 1)
    recent: deque[npt.NDArray[np.uint8]] = deque(maxlen=spec.num_frames)
    ages: list[float] = []
    due = 0.0
    camera, until = PacedCamera(encoded), time.monotonic() + SECONDS
    with Path("/dev/null").open("w") as terminal:
        while time.monotonic() < until:
            _, image = camera.read()
            if not every_frame and camera.stamp_ns < due - 1e6:
                continue
            due = max(due + period_ns, camera.stamp_ns + period_ns / 2)
            side = min(image.shape[:2])
            top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
            square = cv2.cvtColor(image[top : top + side, left : left + side], cv2.COLOR_BGR2RGB)
            small = cv2.resize(square, (spec.image_size, spec.image_size), interpolation=cv2.INTER_AREA)
            recent.append(np.asarray(small, np.uint8))
            while len(recent) < spec.num_frames:
                recent.append(recent[-1])
            output = model.run_window(np.stack(recent))
            print(spec.phrases[int((phrases @ output.video_embedding).argmax())], file=terminal, flush=True)
            ages.append((time.monotonic_ns() - camera.stamp_ns) / 1e6)
    return np.array(ages)


def _read(endpoint: str) -> list[float]:
    """Ages of the tracks messages until none came for two seconds."""
    from henasy_stream.client import subscribe

    ages: list[float] = []
    with subscribe(endpoint, ["tracks"], latest=False) as messages:
        while (message := messages.receive(2.0 if ages else 60.0)) is not None:
            assert message.stamp_ns is not None
            ages.append((time.monotonic_ns() - message.stamp_ns) / 1e6)
    return ages


if __name__ == "__main__":
    print(json.dumps(_read(sys.argv[1])))
