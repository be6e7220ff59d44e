"""What the live page costs the node: its latency without it, with no viewer, one, four, and one of four stalled."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

import henasy_stream as hs
from benchmarks import Result
from henasy_stream.runtime.monitor import Monitor
from henasy_stream.sources.world import WorldSource
from henasy_stream.web.address import parse_address
from henasy_stream.web.messages import unpack
from henasy_stream.web.page import About, LivePage

SOURCE, FPS = "world?seed=7&size=1280x720&fps=30", 30
PICTURES, SECONDS, PASSES = 60, 10, 3
CROWDS = {
    "no page": (-1, 0),
    "no viewer": (0, 0),
    "1 viewer": (1, 0),
    "4 viewers": (4, 0),
    "4 viewers, 1 of them stalled": (4, 1),
}


@dataclass
class _Run:
    """By frame, milliseconds: from when it was there to when its result was handed out; CPU of the loop's thread."""

    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)
    missed: list[float] = field(default_factory=list)


def run() -> Iterator[Result]:
    """The crowds take turns, so that whatever else the machine does meets all of them."""
    model = hs.load("demo")
    source = WorldSource(SOURCE)
    frames = [next(iter(source)) for _ in range(PICTURES)]
    runs = {name: _Run() for name in CROWDS}
    for _ in range(PASSES):
        for name, crowd in CROWDS.items():
            _measure(model, source, frames, runs[name], *crowd)
    for name, found in runs.items():
        wall = np.array(found.wall_ms)
        note = f"1280×720 at {FPS} fps; p50 {np.median(wall):.1f} ms, p99 {np.percentile(wall, 99):.1f} ms"
        yield Result(name=f"frame to result, {name}, p95", value=float(np.percentile(wall, 95)), unit="ms", note=note)
        cpu = float(np.mean(found.cpu_ms))
        yield Result(name=f"CPU of the node's loop, {name}", value=cpu, unit="ms/frame", note="its thread alone, mean")
        if found.shown:
            note = f"each viewer that reads; {np.mean(found.missed):.1f} a second missed"
            yield Result(name=f"pictures shown, {name}", value=float(np.mean(found.shown)), unit="1/s", note=note)


def _measure(
    model: hs.Model, source: WorldSource, frames: list[hs.Frame], found: _Run, viewers: int, stalled: int
) -> None:
    with ExitStack() as stack:
        engine = hs.Engine(model, hs.StreamConfig())
        stack.callback(engine.close)
        engine.warm_up()
        if viewers < 0:
            _play(engine, frames, found, None)
            return
        page = LivePage(parse_address("127.0.0.1:0"))
        stack.callback(page.close)
        page.attend(About(monitor=Monitor(source), spec=model.spec, source=SOURCE))
        crowd = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.view", str(page.address.port), str(viewers), str(stalled)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(crowd.kill)
        while page.viewers < viewers:
            time.sleep(0.02)
        _play(engine, frames, found, page)
        said, _ = crowd.communicate("", timeout=30)
        for line in said.splitlines():
            shown, missed = (int(part) for part in line.split())
            found.shown.append(shown / SECONDS)
            found.missed.append(missed / SECONDS)


def _play(engine: hs.Engine, frames: list[hs.Frame], found: _Run, page: LivePage | None) -> None:
    """In real time; a frame that comes while the one before is still worked on waits, and its wait counts."""
    state, begun = engine.initial_state(), time.perf_counter()
    for i in range(SECONDS * FPS):
        wait_s = begun + i / FPS - time.perf_counter()
        if wait_s > 0:
            time.sleep(wait_s)
        due, cpu = max(begun + i / FPS, time.perf_counter() - 1 / FPS), time.thread_time()
        old = frames[_there_and_back(i)]
        frame = hs.Frame(image=old.image, stamp_ns=round(i * 1e9 / FPS), index=i, source=SOURCE)
        state, perception = engine.step(state, frame)
        if page is not None:
            page.write(perception)
        found.wall_ms.append((time.perf_counter() - due) * 1e3)
        found.cpu_ms.append((time.thread_time() - cpu) * 1e3)


def _there_and_back(i: int) -> int:
    place = i % (2 * PICTURES - 2)
    return min(place, 2 * PICTURES - 2 - place)


async def _look(port: int, stalls: bool) -> None:
    """A viewer; prints the frames it was shown and missed when stdin ends.  A stalled one reads nothing at all."""
    frames = missed = 0
    async with connect(f"ws://127.0.0.1:{port}/live", compression=None, max_size=None, proxy=None) as connection:
        await connection.send('{"t":"hello"}')
        if stalls:
            connection.transport.pause_reading()
        end = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
        while not stalls and not end.done():
            message = asyncio.ensure_future(connection.recv())
            await asyncio.wait([message, end], return_when=asyncio.FIRST_COMPLETED)
            if not message.done():
                message.cancel()
                break
            frames, missed = await _take(connection, message.result(), frames, missed)
        await end
        if stalls:
            connection.transport.abort()
        else:
            print(frames, missed, flush=True)


async def _take(connection: ClientConnection, message: str | bytes, frames: int, missed: int) -> tuple[int, int]:
    assert isinstance(message, bytes)
    head, _ = unpack(message)
    if head["t"] == "frame":
        frames, missed = frames + 1, head["missed"]
        await connection.send(f'{{"t":"ack","frames":{frames}}}')
    return frames, missed


async def _crowd(port: int, viewers: int, stalled: int) -> None:
    await asyncio.gather(*(_look(port, stalls=i < stalled) for i in range(viewers)))


if __name__ == "__main__":
    asyncio.run(_crowd(*(int(argument) for argument in sys.argv[1:4])))
