"""Shows a node's messages in Rerun: pip install rerun-sdk

    python -m henasy_stream.live --source world --max-fps 30 --headless \
        --publish zmq://127.0.0.1:5560 --publish-frames
    python examples/rerun_view.py zmq://127.0.0.1:5560               in Rerun's viewer, while the node runs
    python examples/rerun_view.py out.jsonl --save out.rrd           a record, without its frames, as a file

Boxes and relations lie over the frame that they belong to; captions and changes of the node's state are text logs;
scores of the tracks and latencies are curves.  Only msgspec and, for a node, pyzmq are needed besides Rerun.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import rerun as rr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout that is not installed

from henasy_stream._palette import colour_of
from henasy_stream.client import subscribe
from henasy_stream.errors import UserError
from henasy_stream.sinks.messages import Caption, FrameHeader, Message, Status, Tracks
from henasy_stream.sinks.wire import MessageError, from_json_line

TOPICS = ("tracks", "caption", "frame", "status")


def messages(address: str, timeout_s: float | None) -> Iterator[Message]:
    """What a node publishes, or what stands in a JSONL record.

    Raises:
        UserError: there is neither a node's address nor a record.
        TimeoutError: nothing came from the node for so long.
    """
    if "://" in address:
        with subscribe(address, TOPICS, timeout_s=timeout_s) as node:
            for message in node:
                yield message
                if isinstance(message, Status) and message.state == "STOPPING":
                    return
        return
    try:
        with Path(address).open("rb") as lines:
            yield from (message for message in map(from_json_line, lines) if message is not None)
    except OSError as error:
        raise UserError(f"{address}: {error.strerror}; give zmq://HOST:PORT or a file .jsonl") from error
    except MessageError as error:
        raise UserError(f"{address}: not a record of a node ({error}); make one with --record out.jsonl") from error


def show(message: Message) -> None:
    """Logs one message at the time of its frame, or when it was published if it is about none."""
    if message.stamp_ns is None or message.clock == "unix":
        rr.set_time("unix", timestamp=(message.stamp_ns or message.published_ns) / 1e9)
    else:
        rr.set_time("unix", timestamp=message.published_ns / 1e9)
        rr.set_time(message.clock or "media", duration=message.stamp_ns / 1e9)
    if isinstance(message, FrameHeader) and message.parts:
        rr.log("camera/frame", rr.EncodedImage(contents=message.parts[0], media_type="image/jpeg"))
    elif isinstance(message, Tracks):
        show_tracks(message)
    elif isinstance(message, Caption):
        rr.log("caption", rr.TextLog(f"{message.text} {message.score:.2f}{' (done)' if message.final else ''}"))
        rr.log("caption/score", rr.Scalars(message.score))
    elif isinstance(message, Status):
        rr.log("node", rr.TextLog(f"{message.state} {message.reason}".strip()))
        for stage, times in message.latency_ms.items():
            rr.log(f"latency_ms/{stage}", rr.Scalars(times.p95))


def show_tracks(message: Tracks) -> None:
    """Boxes in the colours of the annotated video, and lines for who touches what."""
    seen = [track for track in message.tracks if track.state in ("new", "tracked")]
    boxes = rr.Boxes2D(
        array=[track.box_xyxy for track in seen],
        array_format=rr.Box2DFormat.XYXY,
        labels=[f"{track.query or track.label} {track.id}" for track in seen],
        colors=[colour_of(track.id) for track in seen],
    )
    rr.log("camera/tracks", boxes if seen else rr.Clear(recursive=False))
    for track in seen:
        rr.log(f"score/{track.id}", rr.Scalars(track.score))
    centres = {t.id: ((t.box_xyxy[0] + t.box_xyxy[2]) / 2, (t.box_xyxy[1] + t.box_xyxy[3]) / 2) for t in seen}
    links = [r for r in message.relations if {r.subject_id, r.object_id} <= centres.keys()]
    lines = rr.LineStrips2D(
        [[centres[r.subject_id], centres[r.object_id]] for r in links], labels=[r.predicate for r in links]
    )
    rr.log("camera/relations", lines if links else rr.Clear(recursive=False))


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Shows a node's messages in Rerun.")
    parser.add_argument("address", help="zmq://HOST:PORT of a node, or a JSONL record")
    parser.add_argument("--save", type=Path, metavar="FILE.rrd", help="write a file in place of opening the viewer")
    parser.add_argument("--timeout", type=float, metavar="S", help="give up when a node says nothing for so long")
    options = parser.parse_args()
    rr.init("henasy_stream")
    try:
        incoming = messages(options.address, options.timeout)
        first = next(incoming, None)
        if first is None:
            raise UserError(f"{options.address}: holds no message")
        if options.save is not None:
            rr.save(options.save)
        else:
            rr.spawn()
        show(first)
        for message in incoming:
            show(message)
    except (UserError, TimeoutError) as error:
        print(f"rerun_view: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
