"""Changes what a running node looks for; needs pyzmq and msgspec only.

    from henasy_stream.control import Request, ask

    ask("zmq://127.0.0.1:5562", Request(set_queries=("cup", "my blue cup")))

The node answers at the address of its `--control`; docs/queries.md has the rules.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import zmq

from henasy_stream.errors import UserError
from henasy_stream.receiver import use_curve

MAX_REQUEST_BYTES = 16 * 1024
"""A larger request costs its sender the connection."""
MAX_QUERIES = 32
MAX_TEXT = 200
_EXAMPLES = '{"set_queries": [...]}, {"add": [...], "remove": [...]} or {"get": "queries"}'


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One JSON object.  `set_queries` replaces all; `add` and `remove` may come together; `get` changes nothing."""

    set_queries: tuple[str, ...] | None = None
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    get: Literal["queries"] | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """`queries` are looked for from frame `applied_from_frame` on; null: as soon as a frame comes.

    `error` is one line and null when `ok`; nothing was changed then.
    """

    ok: bool
    queries: tuple[str, ...] = ()
    applied_from_frame: int | None = None
    error: str | None = None


def decode(body: bytes) -> Request:
    """The request in some bytes.

    Raises:
        UserError: they are none.
    """
    try:
        return msgspec.json.decode(body, type=Request)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"not a request ({' '.join(str(error).split())[:200]}); send {_EXAMPLES}") from error


def wanted(request: Request, now: Sequence[str]) -> tuple[str, ...]:
    """The queries after a request that meets `now`.

    Raises:
        UserError: it asks for nothing or for two things at once, a text is none, is not there to be removed, or they
            are too many.
    """
    changes = bool(request.add or request.remove)
    if (request.set_queries is not None) + changes + (request.get is not None) != 1:
        raise UserError(f"one thing a request: send {_EXAMPLES}")
    if request.get is not None:
        return tuple(now)
    removed = {_text(text) for text in request.remove}
    if missing := removed - set(now):
        raise UserError(f"no query {sorted(missing)[0]!r} to remove; there are {', '.join(map(repr, now)) or 'none'}")
    kept = [text for text in now if text not in removed] if request.set_queries is None else []
    texts = dict.fromkeys([*kept, *(_text(text) for text in request.set_queries or request.add)])
    if len(texts) > MAX_QUERIES:
        raise UserError(f"{len(texts)} queries; at most {MAX_QUERIES} at one time, remove some")
    return tuple(texts)


def ask(
    endpoint: str, request: Request, *, timeout_s: float = 10.0, curve_public_file: str | Path | None = None
) -> Reply:
    """Sends one request to a node and returns its reply, which is `ok`.

    Args:
        endpoint: `zmq://host:port`, `tcp://host:port` or `ipc://path`.
        request: what to change.
        timeout_s: how long to wait.
        curve_public_file: the node's `.key` file, when its control uses CURVE.

    Raises:
        UserError: the address makes no sense, no node answers there, or it refused the request.
    """
    body = msgspec.json.encode(request)
    if len(body) > MAX_REQUEST_BYTES:
        raise UserError(f"the request has {len(body)} bytes, {MAX_REQUEST_BYTES} are allowed; send fewer texts")
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        use_curve(socket, curve_public_file)
        try:
            socket.connect(endpoint.replace("zmq://", "tcp://", 1))
        except zmq.ZMQError as error:
            raise UserError(f"{endpoint}: {error.strerror}; write one like zmq://127.0.0.1:5562") from error
        socket.send(body)
        if not socket.poll(max(0, int(timeout_s * 1000))):
            raise UserError(f"{endpoint}: no answer for {timeout_s} s; does a node run with --control {endpoint}?")
        try:
            reply = msgspec.json.decode(socket.recv(), type=Reply)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UserError(f"{endpoint}: what answers there is no node ({error}); check the port") from error
    if not reply.ok:
        raise UserError(f"{endpoint}: {reply.error}")
    return reply


def _text(text: str) -> str:
    plain = " ".join(text.split())
    if not plain or len(plain) > MAX_TEXT or any(unicodedata.category(c) == "Cc" for c in plain):
        raise UserError(f"query {plain[:40]!r}: give 1 to {MAX_TEXT} letters without control characters")
    return plain
