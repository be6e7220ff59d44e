"""One viewer: what it is sent, how fast, and what it may say."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from websockets.exceptions import ConnectionClosed

from henasy_stream.web import messages
from henasy_stream.web.messages import Ack, Ask, Hello, Wish
from henasy_stream.web.upright import turned_size

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

    from henasy_stream.types import Frame
    from henasy_stream.web.encoder import Encoder

HELLO_S = 5.0
"""So long may a viewer take to say who it is."""
FRAMES_ON_THE_WAY = 2
"""Frames that a viewer has not acknowledged; with more it waits, and misses what comes meanwhile."""
_QUEUE = 64
_MESSAGES_PER_S, _BURST = 100.0, 200.0
_ASKS_PER_S, _ASK_BURST = 2.0, 8.0
_POLICY, _BAD_DATA = 1008, 1007


class Hub(Protocol):
    """What a viewer needs of the server."""

    encoder: Encoder
    number: int
    newest: Frame | None

    def greeting(self) -> bytes:
        """What the node is and what happened so far."""
        ...

    def admits(self, token: str | None) -> bool:
        """Whether the token is right."""
        ...

    async def ask(self, request: Ask) -> messages.Reply:
        """Changes what is looked for."""
        ...


class Allowance:
    """So many a second, with a burst."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s, self._burst, self._left = per_s, burst, burst
        self._at = time.monotonic()

    def take(self) -> bool:
        """Whether one more is allowed."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


async def admitted(connection: ServerConnection, hub: Hub) -> bool:
    """Whether whoever connects says hello, with the token where one is needed; the connection is closed if not."""
    try:
        hello = messages.decode(await asyncio.wait_for(connection.recv(), HELLO_S))
    except (asyncio.TimeoutError, ValueError):
        hello = None
    if not isinstance(hello, Hello):
        await connection.close(_BAD_DATA, "say hello first")
        return False
    if not hub.admits(hello.token):
        await asyncio.sleep(0.3)  # guessing takes time
        await connection.close(_POLICY, "token")
        return False
    return True


class Viewer:
    """Serves one connection: a viewer that stalls misses frames, and nobody else does."""

    def __init__(self, connection: ServerConnection, hub: Hub) -> None:
        self.missed_frames = 0
        self.missed_results = 0
        self.sent_frames = 0
        self._connection = connection
        self._hub = hub
        self._wish = Wish()
        self._acknowledged = 0
        self._queue: deque[bytes] = deque()
        self._resync = False
        self._something = asyncio.Event()
        self._news = asyncio.Event()

    async def serve(self) -> None:
        """Until the connection ends."""
        with contextlib.suppress(ConnectionClosed):
            await self._connection.send(self._hub.greeting())
            await self._until_one_ends(self._send_messages(), self._send_frames(), self._receive())

    async def send_away(self, code: int, why: str) -> None:
        """Ends the connection."""
        await self._connection.close(code, why)

    def drop(self) -> None:
        """Ends the connection at once, whether or not the other side listens."""
        self._connection.transport.abort()

    def queue(self, packed: bytes) -> None:
        """Leaves a message; a viewer that is too slow gets the whole story afresh when it is back."""
        if len(self._queue) >= _QUEUE:
            self.missed_results += len(self._queue)
            self._queue.clear()
            self._resync = True
        self._queue.append(packed)
        self._something.set()

    def frame_came(self) -> None:
        """There is a newer frame."""
        self._news.set()

    async def _until_one_ends(self, *jobs: Coroutine[Any, Any, None]) -> None:
        tasks = [asyncio.ensure_future(job) for job in jobs]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_messages(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            while self._queue:
                if self._resync:
                    self._resync = False
                    await self._connection.send(self._hub.greeting())
                await self._connection.send(self._queue.popleft())

    async def _send_frames(self) -> None:
        hub, seen, due = self._hub, self._hub.number - 1, 0.0
        while True:
            await self._news.wait()
            self._news.clear()
            wish = self._wish
            if not wish.frames:
                seen = hub.number  # it asked for none, so it misses none
                continue
            if hub.newest is None or hub.number == seen or self.sent_frames - self._acknowledged >= FRAMES_ON_THE_WAY:
                continue
            wait_s = due - time.monotonic()
            if wait_s > 0.002:
                await asyncio.sleep(wait_s)
            due = max(due, time.monotonic() - 0.5 / wish.max_fps) + 1 / wish.max_fps
            number, frame = hub.number, hub.newest
            body = await hub.encoder.encoded(frame, wish.size)
            self.missed_frames += max(0, number - seen - 1)
            seen = number
            width, height = turned_size(frame.width, frame.height, hub.encoder.rotate)
            head = messages.Picture(
                number=number,
                index=frame.index,
                stamp_ns=frame.stamp_ns,
                width=width,
                height=height,
                missed=self.missed_frames,
            )
            self.sent_frames += 1
            await self._connection.send(messages.pack(head, body))

    async def _receive(self) -> None:
        allowance, asks = Allowance(_MESSAGES_PER_S, _BURST), Allowance(_ASKS_PER_S, _ASK_BURST)
        async for text in self._connection:
            try:
                said = messages.decode(text)
            except ValueError as error:
                await self._connection.close(_BAD_DATA, str(error)[:100])
                return
            if not allowance.take():
                await self._connection.close(_POLICY, "too many messages")
                return
            if isinstance(said, Ack):
                self._acknowledged = min(said.frames, self.sent_frames)
                self._news.set()
            elif isinstance(said, Wish):
                self._wish = said
                self._news.set()
            elif isinstance(said, Ask):
                if asks.take():
                    reply = await self._hub.ask(said)
                else:
                    reply = messages.Reply(ask=said.ask, ok=False, error="too many questions at once; wait a second")
                self.queue(messages.pack(reply))
