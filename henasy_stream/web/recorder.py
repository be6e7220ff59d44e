"""The last half minute, kept for viewers who want it as a file, and the sending of that file."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from henasy_stream.errors import UserError
from henasy_stream.sinks.builder import MessageBuilder, NodeStatus
from henasy_stream.sinks.ring import Ring
from henasy_stream.web import messages
from henasy_stream.web.encoder import Encoder, yield_to_others

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

    from henasy_stream.types import ModelSpec, Perception

KEPT_S = 30.0
FPS = 15.0
"""Frames a second that are kept at most; those that a viewer sees are encoded already."""
_PIECE_BYTES = 256 * 1024
_ASK_S, _TELL_S = 10.0, 0.4


def formats() -> tuple[str, ...]:
    """What can be saved here: MCAP needs the package mcap."""
    return ("mp4", "mcap") if find_spec("mcap") else ("mp4",)


class Recorder:
    """Keeps messages and frames in a ring.  All but the thread that makes files runs in the page's loop."""

    def __init__(self, spec: ModelSpec, source: str, session: str, encoder: Encoder) -> None:
        self.saving = asyncio.Lock()
        self.progress = (0, 0)
        """Frames that are in the file being made, and all."""
        self.worker = ThreadPoolExecutor(1, "henasy-page-save", initializer=yield_to_others)
        self._ring = Ring(seconds=KEPT_S)
        self._builder = MessageBuilder(spec, session=session, source=source)
        self._encoder = encoder
        self._due = 0.0
        self._task: asyncio.Task[None] | None = None

    def tell(self, perception: Perception) -> None:
        """Keeps what a result says.  Raises ValueError where something in it is no finite number."""
        self._ring.send(self._builder.perception(perception))

    def heartbeat(self, status: NodeStatus) -> None:
        """Keeps how the node is."""
        self._ring.send(self._builder.heartbeat(status))

    def keep(self, perception: Perception) -> None:
        """Keeps the frame, unless the one before is still being encoded or was a moment ago."""
        now = time.monotonic()
        if now < self._due or (self._task is not None and not self._task.done()):
            return
        self._due = now + 1 / FPS
        self._task = asyncio.ensure_future(self._keep(perception))

    def pieces(self, kind: Literal["mcap", "mp4"]) -> Iterator[bytes]:
        """The file, piece by piece; made while it is read.

        Raises:
            UserError: there is nothing to save yet, or it cannot be made here.
        """
        if kind == "mcap":
            yield from self._ring.mcap()
            return
        with tempfile.TemporaryDirectory(prefix="henasy-") as folder:
            file = Path(folder) / "last.mp4"
            self._ring.mp4(file, self._advance)
            with file.open("rb") as stream:
                while piece := stream.read(_PIECE_BYTES):
                    yield piece

    def close(self) -> None:
        """Lets go of everything."""
        self.worker.shutdown(wait=False, cancel_futures=True)
        self._ring.close()

    def _advance(self, done: int, total: int) -> None:
        self.progress = (done, total)

    async def _keep(self, perception: Perception) -> None:
        self._ring.write(perception, await self._encoder.encoded(perception.frame, "source"))


async def save(connection: ServerConnection, recorder: Recorder | None) -> None:
    """Answers one `Save` with a file, on a connection of its own, so that the live pictures go on beside it.

    Raises:
        ConnectionClosed: whoever wanted it is gone.
    """
    error, size = None, 0
    try:
        wish = messages.decode(await asyncio.wait_for(connection.recv(), _ASK_S))
        if not isinstance(wish, messages.Save) or recorder is None:
            raise UserError("there is nothing to save yet")
        if recorder.saving.locked():
            raise UserError("another viewer's file is being made; try again in a moment")
        async with recorder.saving:
            recorder.progress = (0, 0)
            pieces = recorder.pieces(wish.format)
            while piece := await _next(pieces, recorder, connection):
                await connection.send(messages.pack(messages.Piece(), piece))
                size += len(piece)
    except (asyncio.TimeoutError, ValueError, OSError) as problem:  # a UserError is a ValueError
        error = " ".join(str(problem).split())[:300] or "no answer in time"
    await connection.send(messages.pack(messages.Saved(size=size, error=error)))


async def _next(pieces: Iterator[bytes], recorder: Recorder, connection: ServerConnection) -> bytes:
    """The next piece, empty at the end; while it is being made the other side is told how far that is."""
    piece = asyncio.get_running_loop().run_in_executor(recorder.worker, next, pieces, b"")
    while not (await asyncio.wait([piece], timeout=_TELL_S))[0]:
        done, total = recorder.progress
        await connection.send(messages.pack(messages.Making(done=done, total=total)))
    return piece.result()
