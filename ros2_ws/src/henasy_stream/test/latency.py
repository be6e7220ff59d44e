"""How long a raw image takes through the node: from before it is published until its tracks have arrived.

    python3 test/latency.py [--size 1280x720] [--fps 15] [--seconds 30]

Starts the node by `ros2 run`; both processes are on this machine.  The stamp of an image is the wall clock when it is
made, so that the numbers hold the camera's publishing, the transport, the node's step and the way back.
"""

from __future__ import annotations

import argparse
import json
import os
import time

import numpy as np
from probe import NODE, Camera, Probe, node, until

os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


def measure(size: str, fps: float, seconds: float) -> dict[str, object]:
    """Milliseconds at p50, p95 and p99, and what the node says of its own stages."""
    probe = Probe()
    probe.hear("/diagnostics")
    arrivals: list[tuple[int, int]] = []

    def arrived(message: object) -> None:
        stamp = message.header.stamp  # type: ignore[attr-defined]
        arrivals.append((time.time_ns(), stamp.sec * 10**9 + stamp.nanosec))

    from henasy_msgs.msg import EntityTrackArray

    probe.node.create_subscription(EntityTrackArray, f"{NODE}/tracks", arrived, 10)
    process = node()
    camera = Camera(probe, fps=fps, size=size)
    try:
        until(lambda: len(arrivals) > 20, "results")
        arrivals.clear()
        started, sent = time.monotonic(), len(camera.stamps)
        time.sleep(seconds)
        elapsed, sent = time.monotonic() - started, len(camera.stamps) - sent
        found = [(now - stamp) / 1e6 for now, stamp in arrivals]
        arrived_rate = float(probe.values()["images (1/s)"])
        stages = {key: float(value) for key, value in probe.values().items() if key.endswith("(ms)")}
    finally:
        camera.close()
        process.interrupt()
        probe.close()
    p50, p95, p99 = (round(float(value), 1) for value in np.percentile(found, (50, 95, 99)))
    return {
        "size": size,
        "images sent a second": round(sent / elapsed, 1),
        "images that arrived a second": arrived_rate,
        "results a second": round(len(found) / elapsed, 1),
        "milliseconds": {"p50": p50, "p95": p95, "p99": p99},
        "stages of the node": stages,
    }


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1280x720", metavar="WxH")
    parser.add_argument("--fps", type=float, default=15.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    print(json.dumps(measure(given.size, given.fps, given.seconds), indent=2))


if __name__ == "__main__":
    main()
