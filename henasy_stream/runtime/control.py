"""The control socket: others change what the node looks for, and nothing that they do holds up the stream.

Two threads: that of the socket reads requests and has their texts embedded; the loop takes the outcome between two
frames, which is one assignment.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import zmq

from henasy_stream.control import MAX_REQUEST_BYTES, Reply, Request, decode, wanted
from henasy_stream.errors import UserError
from henasy_stream.runtime.outputs import one_line
from henasy_stream.sinks.binding import bind

if TYPE_CHECKING:
    from henasy_stream.stream.engine import Engine
    from henasy_stream.stream.queries import QueryBank

APPLY_S = 2.0
"""So long a reply waits for the frame from which on the change holds."""
_POLL_MS = 100
_WAITING = 16  # requests


class ControlSocket:
    """A ZeroMQ socket for REQ clients: JSON in, JSON out, one request after the other.

    Clients that send nonsense, too much, or vanish before they have their reply are no concern of the next one.  A
    ROUTER, not a REP: that one now and then stops listening for good when messages without REQ's envelope flood it.

    Args:
        endpoint: `zmq://host:port` or `tcp://host:port` (port 0 or *: any free one), or `ipc://path`.
        allow_remote: bind to an address that other machines can reach.
        curve_secret_file: the `.key_secret` file of `zmq.auth.create_certificates`.

    Raises:
        UserError: as `henasy_stream.sinks.binding.bind`.
    """

    def __init__(
        self, endpoint: str, *, allow_remote: bool = False, curve_secret_file: str | Path | None = None
    ) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            for option, value in (
                (zmq.LINGER, 0),
                (zmq.MAXMSGSIZE, MAX_REQUEST_BYTES),
                (zmq.RCVTIMEO, _POLL_MS),
                (zmq.RCVHWM, _WAITING),
                (zmq.SNDHWM, _WAITING),
            ):
                self._socket.setsockopt(option, value)
            bind(
                self._socket, endpoint, option="control", allow_remote=allow_remote, curve_secret_file=curve_secret_file
            )
            self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        except BaseException:
            self._context.destroy(linger=0)
            raise

    def serve(self, answer: Callable[[Request], Reply]) -> None:
        """Answers requests from now on, those that came before included, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, args=(answer,), name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Unbinds; a request that is being answered may take until its texts are embedded."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        self._context.destroy(linger=0)

    def _run(self, answer: Callable[[Request], Reply]) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(zmq.Again):
                parts = self._socket.recv_multipart()
                if b"" not in parts:  # no envelope: whoever sent it waits for no reply
                    continue
                body = parts.index(b"") + 1
                reply = msgspec.json.encode(_answered(parts[body:], answer))
                self._socket.send_multipart([*parts[:body], reply], zmq.NOBLOCK)  # dropped if its client is gone


def _answered(parts: list[bytes], answer: Callable[[Request], Reply]) -> Reply:
    try:
        if len(parts) != 1:
            raise UserError(f"{len(parts)} parts; send one")
        return answer(decode(parts[0]))
    except Exception as error:  # noqa: BLE001 - embedding may fail in any way, and the next request may be fine
        what = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        return Reply(ok=False, error=what + one_line(error))


@dataclass(frozen=True, eq=False)
class _Change:
    """A bank that waits to be used; `frame` gets the index of the first frame that it is used for."""

    bank: QueryBank
    frame: queue.SimpleQueue[int | None] = field(default_factory=queue.SimpleQueue)


class QueryDesk:
    """Between those who ask, from threads of their own, by `answer`, and the loop, which calls `apply`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._texts = engine.queries
        self._changes: queue.SimpleQueue[_Change] = queue.SimpleQueue()
        self._closed = False
        self._asking = threading.Lock()

    def answer(self, request: Request) -> Reply:
        """Embeds what is new and waits until the loop has taken it, or `APPLY_S`.

        Raises:
            UserError: the request makes no sense.
        """
        if self._closed:
            raise UserError("the node is stopping")
        with self._asking:  # two who add a text at the same time both get theirs
            texts = wanted(request, self._texts)
            if request.get is not None:
                return Reply(ok=True, queries=texts)
            change = _Change(self._engine.prepare_queries(texts))
            self._texts = texts
            self._changes.put(change)
        try:
            frame = change.frame.get(timeout=APPLY_S)
        except queue.Empty:
            frame = None
        return Reply(ok=True, queries=texts, applied_from_frame=frame)

    def apply(self, frame_index: int) -> None:
        """Has the engine look for what was asked for; `frame_index`: of the frame that comes next."""
        for change in self._waiting():
            self._engine.use_queries(change.bank)
            change.frame.put(frame_index)

    def close(self) -> None:
        """No frame comes any more; whoever waits for one has a reply now."""
        self._closed = True
        for change in self._waiting():
            change.frame.put(None)

    def _waiting(self) -> Iterator[_Change]:
        while not self._changes.empty():  # nobody else takes any
            yield self._changes.get()
