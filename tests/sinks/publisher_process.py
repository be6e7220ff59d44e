"""A publisher to be killed: `python -m tests.sinks.publisher_process --endpoint … --record …`.

Prints its endpoint once it is bound, then publishes (and records) a made-up hop every `--period` seconds.
"""

from __future__ import annotations

import argparse
import itertools
import time

from henasy_stream.sinks.builder import MessageBuilder, NodeStatus
from henasy_stream.sinks.jsonl import JsonlSink
from henasy_stream.sinks.publisher import Publisher, Sink
from henasy_stream.sinks.zmq import ZmqSink
from tests.sinks import synthetic


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", default="zmq://127.0.0.1:0")
    parser.add_argument("--record")
    parser.add_argument("--wait", type=int, default=0)
    parser.add_argument("--count", type=int)
    parser.add_argument("--period", type=float, default=0.005)
    options = parser.parse_args()
    sink = ZmqSink(options.endpoint)
    sinks: list[Sink] = [sink]
    if options.record:
        sinks.append(JsonlSink(options.record))
    publisher = Publisher(MessageBuilder(synthetic.SPEC, masks=True, frame=True, embeddings=True), sinks)
    print(sink.endpoint, flush=True)
    assert sink.wait_subscribers(options.wait, 30)
    for index in range(options.count) if options.count else itertools.count():
        segment, beat = divmod(index, 5)
        closed = (synthetic.caption(segment - 1, final=True),) if segment and not beat else ()
        publisher.write(synthetic.perception(index, caption=synthetic.caption(segment), closed=closed))
        publisher.status(NodeStatus(state="RUNNING", since_ns=0, frames_in=index))
        time.sleep(options.period)
    publisher.status(NodeStatus(state="STOPPING", since_ns=0))
    publisher.close()


if __name__ == "__main__":
    main()
