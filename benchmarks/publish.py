"""ZeroMQ messages a second with 1, 10 and 50 subscribers, and how long the publisher is held up at worst."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import zmq

from benchmarks import Result
from henasy_stream.sinks.builder import MessageBuilder
from henasy_stream.sinks.messages import PREFIX, Message
from henasy_stream.sinks.zmq import SEND_HIGH_WATER_MARK, ZmqSink
from henasy_stream.types import Caption, Frame, Hypothesis, ModelSpec, Perception, Track

SUBSCRIBERS = (1, 10, 50)
SECONDS = 3.0
RATE = 100.0
"""Messages a second of a node that reads a window for every frame of a fast camera: tracks and captions."""


def run() -> Iterator[Result]:
    """As fast as it goes, when a small queue overflows on purpose; then at a node's rate, when nothing may be lost."""
    batch = _messages()
    alone: float | None = None  # messages in a second of CPU time
    for count in SUBSCRIBERS:
        sink = ZmqSink("tcp://127.0.0.1:0")
        readers = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.publish", sink.endpoint, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if not sink.wait_subscribers(count, timeout_s=120):
            raise RuntimeError(f"{count} subscribers did not come")
        flat_out = _send(sink, batch, None)
        time.sleep(1.0)  # the queues run dry
        steady = _send(sink, batch, RATE)
        sink.close()
        said, _ = readers.communicate(timeout=60)
        received = json.loads(said)
        walls, cpu = np.array(flat_out.walls), flat_out.cpu_s
        sent, rate = len(walls), len(walls) / cpu
        alone = alone or rate
        name = f"{count} subscriber{'s' if count > 1 else ''}"
        note = f"{rate / alone:.2f} times as many as with one; tracks and caption in turns, as fast as it goes"
        yield Result(name=f"sent to {name}", value=sent / SECONDS, unit="1/s", note="wall clock")
        yield Result(name=f"sent to {name} in a second of CPU", value=rate, unit="1/s", note=note)
        note = (
            f"all together; {received['flat_out'] / (count * sent):.0%}, the queue of {SEND_HIGH_WATER_MARK} was full"
        )
        yield Result(name=f"received by {name}", value=received["flat_out"] / SECONDS, unit="1/s", note=note)
        for q in (50, 99):
            yield Result(name=f"a send to {name}, p{q}", value=float(np.percentile(walls, q)) * 1e6, unit="µs")
        due = count * len(steady.walls)
        lost = 100 * (1 - received["steady"] / due)
        note = f"at {RATE:g} messages a second, of {due}"
        yield Result(name=f"lost by {name}", value=lost, unit="%", note=note)


class _Sent(NamedTuple):
    """walls: seconds that each send took; cpu_s: of the sending thread, all of them together."""

    walls: list[float]
    cpu_s: float


def _send(sink: ZmqSink, batch: list[Message], rate: float | None) -> _Sent:
    """Sends for SECONDS."""
    taken: list[float] = []
    start, cpu = time.perf_counter(), time.thread_time()
    while (now := time.perf_counter()) < start + SECONDS:
        if rate is not None and len(taken) > (now - start) * rate:
            time.sleep(0.001)
            continue
        # The readers tell the two parts of the run apart by frame_index.
        message = batch[len(taken) % 2 + (0 if rate is None else 2)]
        sink.send([message])
        taken.append(time.perf_counter() - now)
    return _Sent(taken, time.thread_time() - cpu)


def _messages() -> list[Message]:
    """Tracks of eight entities and a caption, as the demo sends them; once with frame_index 0 and once with 1."""
    hypotheses = tuple(Hypothesis(label=label, score=0.3) for label in ("cup", "knife", "plate"))
    tracks = tuple(
        Track(
            id=i,
            label="cup",
            label_index=1,
            label_score=0.9,
            score=0.9,
            state="tracked",
            box_xyxy=(100.5, 200.5, 300.5, 400.5),
            mask_index=i,
            first_seen_ns=10**9,
            last_seen_ns=10**10,
            hypotheses=hypotheses,
        )
        for i in range(1, 9)
    )
    caption = Caption(segment_id=1, text="picks up the cup", score=0.5, start_ns=0, end_ns=10**9, final=False)
    spec = ModelSpec(
        model_id="bench",
        image_size=80,
        num_frames=4,
        span_s=1.5,
        embed_dim=8,
        capabilities=frozenset({"entities", "caption"}),
    )
    builder, image = MessageBuilder(spec), np.zeros((720, 1280, 3), np.uint8)
    out: list[Message] = []
    for index in (0, 1):
        frame = Frame(image=image, stamp_ns=10**10, index=index, source="bench")
        perception = Perception(
            frame=frame, stamp_ns=10**10, window_start_ns=0, window_end_ns=10**10, tracks=tracks, caption=caption
        )
        out += builder.perception(perception)
    return out


def _read(endpoint: str, count: int) -> dict[str, int]:
    """Reads with `count` sockets until stdin closes; how many messages came in each part of the run."""
    import select

    import msgspec

    context, poller = zmq.Context(), zmq.Poller()
    for _ in range(count):
        socket = context.socket(zmq.SUB)
        socket.setsockopt_string(zmq.SUBSCRIBE, PREFIX)
        socket.connect(endpoint)
        poller.register(socket, zmq.POLLIN)
    received: Counter[int] = Counter()  # by frame_index
    quiet = False
    while not quiet or not select.select([sys.stdin], [], [], 0)[0]:
        ready = poller.poll(200)
        quiet = not ready
        for socket, _ in ready:
            for _ in range(100):
                try:
                    _, body = socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    break
                received[msgspec.msgpack.decode(body)["frame_index"]] += 1
    context.destroy(linger=0)
    return {"flat_out": received[0], "steady": received[1]}


if __name__ == "__main__":
    print(json.dumps(_read(sys.argv[1], int(sys.argv[2]))))
