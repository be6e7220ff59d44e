"""The server: files over HTTP, everything that moves over a WebSocket, all in one asyncio loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from typing import TYPE_CHECKING

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

import henasy_stream
from henasy_stream.control import Request
from henasy_stream.errors import UserError
from henasy_stream.preprocess import View
from henasy_stream.sinks.builder import NodeStatus
from henasy_stream.web import messages
from henasy_stream.web.convert import result_message
from henasy_stream.web.crowd import limited
from henasy_stream.web.encoder import Encoder
from henasy_stream.web.gate import SAVE_PATH, respond
from henasy_stream.web.gauge import Gauge
from henasy_stream.web.history import History
from henasy_stream.web.messages import Sample
from henasy_stream.web.recorder import Recorder, formats, save
from henasy_stream.web.viewer import Viewer, admitted

if TYPE_CHECKING:
    from henasy_stream.types import Frame, Perception
    from henasy_stream.web.address import Address
    from henasy_stream.web.mailbox import Mailbox
    from henasy_stream.web.page import About

MOST_VIEWERS = 16
MOST_STRANGERS = 32
"""Connections that have not said who they are."""
STATE_S = 1.0
_FAREWELL_S = 0.5
_GOING_AWAY, _TRY_LATER = 1001, 1013

_silent = logging.getLogger("henasy_stream.web.server.silent")
_silent.disabled = True
"""For websockets, which would log tracebacks of whatever strangers send, headers included."""


class Server:
    """All methods but `__init__` run in the loop's thread."""

    def __init__(self, address: Address, mailbox: Mailbox, session: str) -> None:
        self.encoder = Encoder()
        self.number = 0
        self.newest: Frame | None = None
        self.viewers: set[Viewer] = set()
        self._address = address
        self._mailbox = mailbox
        self._session = session
        self._history = History()
        self._about: About | None = None
        self._gauge: Gauge | None = None
        self._recorder: Recorder | None = None
        self._stopped = asyncio.Event()
        self._since_ns = time.time_ns()
        self._unusable = 0
        self._strangers = 0

    async def run(self, listener: socket.socket) -> None:
        """Serves until `stop`."""
        server = await serve(
            self._connected,
            sock=listener,
            process_request=lambda _, request: respond(request, self._address),
            create_connection=limited(),
            server_header=None,
            compression=None,  # JPEG does not shrink, and deflating costs the node's cores
            max_size=messages.MAX_MESSAGE_BYTES,
            max_queue=8,
            write_limit=256 * 1024,
            open_timeout=15,
            ping_interval=10,
            ping_timeout=20,
            close_timeout=3,
            logger=_silent,
        )
        beat = asyncio.ensure_future(self._beat())
        try:
            await self._stopped.wait()
            self._tell_state()
            await asyncio.sleep(0.05)  # for the last messages
        finally:
            beat.cancel()
            await self._send_all_away()
            server.close()
            await server.wait_closed()
            await _end_all()
            self.encoder.close()
            if self._recorder is not None:
                self._recorder.close()

    async def _send_all_away(self) -> None:
        viewers = tuple(self.viewers)
        farewells = [asyncio.ensure_future(viewer.send_away(_GOING_AWAY, "the node stops")) for viewer in viewers]
        if farewells:
            await asyncio.wait(farewells, timeout=_FAREWELL_S)
        for viewer in viewers:
            viewer.drop()

    def stop(self) -> None:
        """Ends `run`."""
        self._stopped.set()

    def attend(self, about: About) -> None:
        """Shows a node."""
        self._about = about
        self._gauge = Gauge(about.monitor)
        self.encoder.rotate = about.rotate
        self._recorder = Recorder(about.spec, about.source, self._session, self.encoder)
        self._broadcast(self.greeting())

    def take(self) -> None:
        """Hands what is in the mailbox to the viewers."""
        mail = self._mailbox.take()
        self.number = mail.frames
        for perception in mail.results:
            self._broadcast_result(perception)
        if mail.frame is not None:
            self.newest = mail.frame
            for viewer in self.viewers:
                viewer.frame_came()
        if mail.perception is not None and self._recorder is not None:
            self._recorder.keep(mail.perception)

    def greeting(self) -> bytes:
        """See `Hub.greeting`."""
        about, history = self._about, self._history
        spec = None if about is None else about.spec
        return messages.pack(
            messages.Greeting(
                release=henasy_stream.__version__,
                session=self._session,
                source="" if about is None else about.source,
                model="" if spec is None else spec.model_id,
                capabilities=() if spec is None else tuple(sorted(spec.capabilities)),
                synthetic=spec is not None and spec.synthetic,
                queries=about is not None and about.answer is not None,
                downloads=formats(),
                seen=history.seen,
                actions=history.actions,
                samples=history.samples,
            )
        )

    def admits(self, token: str | None) -> bool:
        """See `Hub.admits`."""
        return self._address.admits_token(token)

    async def ask(self, request: messages.Ask) -> messages.Reply:
        """See `Hub.ask`; texts are embedded in a thread, so that the pictures go on meanwhile."""
        about = self._about
        if about is None or about.answer is None:
            return messages.Reply(ask=request.ask, ok=False, error="nothing can be asked for here")
        try:
            wanted = Request(add=request.add, remove=request.remove)
            done = await asyncio.to_thread(about.answer, wanted)
        except Exception as error:  # noqa: BLE001 - embedding may fail in any way, and the page goes on
            what = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            return messages.Reply(ask=request.ask, ok=False, error=f"{what}{' '.join(str(error).split())}"[:300])
        return messages.Reply(ask=request.ask, ok=True, queries=done.queries)

    async def _connected(self, connection: ServerConnection) -> None:
        self._strangers += 1
        try:
            if self._strangers > MOST_STRANGERS or not await admitted(connection, self):
                return
        except ConnectionClosed:
            return
        finally:
            self._strangers -= 1
        if connection.request is not None and connection.request.path == SAVE_PATH:
            with contextlib.suppress(ConnectionClosed):
                await save(connection, self._recorder)
        elif len(self.viewers) >= MOST_VIEWERS:
            await connection.close(_TRY_LATER, f"{MOST_VIEWERS} viewers are here already")
        else:
            await self._serve_viewer(Viewer(connection, self))

    async def _serve_viewer(self, viewer: Viewer) -> None:
        self.viewers.add(viewer)
        viewer.frame_came()
        try:
            await viewer.serve()
        finally:
            self.viewers.discard(viewer)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(STATE_S)
            self._tell_state()

    def _tell_state(self) -> None:
        status, sample = (
            NodeStatus(state="STARTING", since_ns=self._since_ns),
            Sample(unix_ms=time.time_ns() // 1_000_000),
        )
        if self._about is not None and self._gauge is not None and self._recorder is not None:
            status, sample = self._about.monitor.status(), self._gauge.sample()
            self._history.add_sample(sample)
            self._recorder.heartbeat(status)
        for viewer in self.viewers:
            state = messages.State(
                state=status.state,
                reason=status.reason,
                since_ns=status.since_ns,
                frames_in=status.frames_in,
                frames_used=status.frames_used,
                frames_dropped=status.frames_dropped,
                frames_failed=status.frames_failed,
                latency_ms=dict(status.latency_ms),
                sample=sample,
                viewers=len(self.viewers),
                missed_frames=viewer.missed_frames,
                missed_results=viewer.missed_results + self._mailbox.missed_results + self._unusable,
            )
            viewer.queue(messages.pack(state))

    def _broadcast_result(self, perception: Perception) -> None:
        about, frame = self._about, perception.frame
        if about is None or self._recorder is None:
            return
        spec = about.spec
        view = View.plan(frame.height, frame.width, spec.image_size, spec.resize, about.rotate)
        try:
            self._recorder.tell(perception)
            result, payload = result_message(perception, view)
        except ValueError:
            self._unusable += 1  # holds what is no finite number
            return
        self._history.add(result)
        self._broadcast(messages.pack(result, payload))

    def _broadcast(self, packed: bytes) -> None:
        for viewer in self.viewers:
            viewer.queue(packed)


async def _end_all() -> None:
    """Ends what still waits in this loop, such as a handshake that will never be finished."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
