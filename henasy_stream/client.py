"""Receives what a node publishes; needs pyzmq and msgspec only.

    from henasy_stream.client import subscribe

    with subscribe("tcp://127.0.0.1:5560", topics=["caption", "tracks"]) as messages:
        for message in messages:
            print(message.topic, message.seq, messages.gaps.total())

`python -m henasy_stream.client tcp://127.0.0.1:5560` prints captions and tracks.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from henasy_stream._arguments import Parser
from henasy_stream.errors import UserError
from henasy_stream.sinks import wire
from henasy_stream.sinks.messages import PREFIX, TOPICS, Caption, Message, Status, Tracks
from henasy_stream.subscription import Subscription

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5560"
SILENCE_S = 3.0
"""Until the command line says that nothing has come; a node sends something every second."""


def subscribe(
    endpoint: str = DEFAULT_ENDPOINT,
    topics: Sequence[str] = TOPICS,
    *,
    latest: bool = True,
    timeout_s: float | None = None,
    curve_public_file: str | Path | None = None,
) -> Subscription:
    """Subscribes to a publisher, which need not be there yet, may restart, and is found again.

    Args:
        endpoint: `tcp://host:port`, `zmq://host:port` or `ipc://path`.
        topics: `henasy/1/caption` or `caption`, and so on; all of them by default.
        latest: a reader that falls behind gets the newest message of each topic and skips the older ones, which may
            skip a caption's `final`.  False: every message, in the order of arrival.
        timeout_s: iterating raises TimeoutError when nothing came for so long; None waits for ever.
        curve_public_file: the publisher's `.key` file, when it publishes with CURVE.

    Raises:
        UserError: the endpoint or a topic makes no sense, or the key cannot be read.
    """
    return Subscription(endpoint, topics, latest=latest, timeout_s=timeout_s, curve_public_file=curve_public_file)


def _tracks(message: Tracks) -> str:
    """All tracks, then who touches what."""
    names = {track.id: f"{track.label}#{track.id}" for track in message.tracks}
    tracks = [f"{names[t.id]} {t.score:.2f}{'' if t.state == 'tracked' else f' {t.state}'}" for t in message.tracks]
    relations = [
        f"{names[r.subject_id]} {r.predicate} {names[r.object_id]}"
        for r in message.relations
        if {r.subject_id, r.object_id} <= names.keys()
    ]
    return " | ".join(["  ".join(tracks) or "nothing", *relations])


def _answers(message: Tracks | Caption) -> str:
    """The answers to queries, each with its tracks."""
    return "".join(
        f" | {q.text!r} {q.score:.2f}{''.join(f' #{i}' for i in q.track_ids)}" if q.present else f" | {q.text!r} absent"
        for q in message.queries
    )


def readable(message: Message) -> str:
    """One line for people."""
    seconds = "" if message.stamp_ns is None else f"{message.stamp_ns / 1e9:.3f} s"
    name = message.topic[len(PREFIX) :]
    if isinstance(message, Caption):
        held = message.alternatives and message.alternatives[0].score > message.score
        sure = f"{message.score:.2f}{', held' if held else ''}"  # another phrase is likelier and waits to take over
        text = f"{message.text} ({sure}){' — ended' if message.final else ''}{_answers(message)}"
    elif isinstance(message, Tracks):
        text = _tracks(message) + _answers(message)
    elif isinstance(message, Status):
        text = f"{message.state} {message.reason}"
    else:
        text = f"{sum(map(len, message.parts))} bytes"
    return f"{seconds:>12}  {name:<7}  {text}".rstrip()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = Parser(
        prog="python -m henasy_stream.client",
        description="Prints what a node publishes.  Ctrl-C ends it.",
        epilog="Exit codes: 0 ended by Ctrl-C or --count, or done; 1 nothing came within --timeout; 2 a mistake in the "
        "arguments, or the node refuses.",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="ENDPOINT",
        help=f"default: {DEFAULT_ENDPOINT}; with --control: get, set [TEXT …], add TEXT … or remove TEXT …",
    )
    parser.add_argument("--control", metavar="ADDRESS", help="change what the node looks for; see docs/queries.md")
    parser.add_argument("--topics", default="caption,tracks", help="comma-separated; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, as in a record")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="end after N messages")
    parser.add_argument("--timeout", type=float, metavar="S", help="fail when nothing came for S seconds")
    parser.add_argument("--curve", metavar="FILE", help="the publisher's public key, when it publishes with CURVE")
    try:
        options = parser.parse_args(arguments)
        if options.timeout is not None and not 0 < options.timeout < math.inf:
            raise UserError(f"--timeout {options.timeout}: give seconds, such as 5")
        if options.count < 0:
            raise UserError(f"--count {options.count}: give how many messages to wait for, such as 100")
        if options.control is not None:
            return _control(options)
        if len(options.words) > 1:
            raise UserError(f"{' '.join(options.words)}: one endpoint; texts to look for need --control ADDRESS")
        with subscribe(
            options.words[0] if options.words else DEFAULT_ENDPOINT,
            [name.strip() for name in options.topics.split(",")],
            latest=False,
            timeout_s=options.timeout,
            curve_public_file=options.curve,
        ) as messages:
            waits = options.timeout is None
            return _print_all(messages, waits=waits, as_json=options.json, count=options.count)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


def _control(options: argparse.Namespace) -> int:
    from henasy_stream.control import Request, ask

    verb, *texts = options.words or [""]
    requests = {
        "get": Request(get="queries"),
        "set": Request(set_queries=tuple(texts)),
        "add": Request(add=tuple(texts)),
        "remove": Request(remove=tuple(texts)),
    }
    if verb not in requests or (verb == "get" and texts):
        raise UserError(f"--control, then {verb!r}: write get, set [TEXT …], add TEXT … or remove TEXT …")
    if verb in ("add", "remove") and not texts:
        raise UserError(f"{verb}: which text? for example {verb} cup")
    timeout_s = 10.0 if options.timeout is None else options.timeout
    reply = ask(options.control, requests[verb], timeout_s=timeout_s, curve_public_file=options.curve)
    for text in reply.queries:
        print(text)
    return 0


def _first_or_word(messages: Subscription) -> Iterator[Message]:
    """All messages; a line where the first is long in coming, for nobody who publishes is no error here."""
    first = messages.receive(SILENCE_S)
    if first is not None:
        yield first
    else:
        remedy = (
            f"python -m henasy_stream.live --source world --publish {messages.endpoint.replace('tcp://', 'zmq://')}"
        )
        print(f"nothing from {messages.endpoint} yet; to publish there: {remedy}", file=sys.stderr, flush=True)
    yield from messages


def _print_all(messages: Subscription, *, waits: bool, as_json: bool, count: int) -> int:
    sessions = 0
    code = 0
    try:
        for number, message in enumerate(_first_or_word(messages) if waits else messages, 1):
            if len(messages.sessions) > sessions:
                sessions = len(messages.sessions)
                print(f"session {message.session}", file=sys.stderr)
            line = wire.to_json_line(message).decode().rstrip("\n") if as_json else readable(message)
            print(line, flush=True)
            if number == count:
                break
    except KeyboardInterrupt:
        pass
    except TimeoutError as error:
        print(error, file=sys.stderr)
        code = 1
    except BrokenPipeError:
        # `| head` has read enough; the interpreter would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    lost, malformed = messages.gaps.total(), messages.malformed
    print(f"{messages.received.total()} messages, {lost} lost, {malformed} malformed", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
