"""The page as the node sees it: an output that takes perceptions and never waits for anybody who looks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from henasy_stream.preprocess import Rotation
from henasy_stream.web.address import Address, listen
from henasy_stream.web.mailbox import Mailbox
from henasy_stream.web.server import Server

if TYPE_CHECKING:
    from henasy_stream.control import Reply, Request
    from henasy_stream.runtime.monitor import Monitor
    from henasy_stream.types import Frame, ModelSpec, Perception

_END_S = 3.0
_MOST_TOLD = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class About:
    """What the page shows of a node."""

    monitor: Monitor
    spec: ModelSpec
    source: str
    rotate: Rotation = 0
    answer: Callable[[Request], Reply] | None = None
    """Changes what is looked for, as `QueryDesk.answer`; None where nothing can be asked for."""


class LivePage:
    """Listens from the moment it is made; `address` then holds the port that was found.

    Args:
        address: from `parse_address`.
        session: name of this run, by which a browser knows that the node was started again; random when None.
        report: takes a line for the user when something fails inside; each kind of failure is told once.

    Raises:
        UserError: the port is taken, or the address is not one of this machine.
    """

    def __init__(
        self, address: Address, *, session: str | None = None, report: Callable[[str], None] = _log.error
    ) -> None:
        listener = listen(address)
        self.address = replace(address, port=listener.getsockname()[1])
        self._report = report
        self._told: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._failed)
        self._mailbox = Mailbox(self._wake)
        self._server = Server(self.address, self._mailbox, session or secrets.token_hex(8))
        self._tapped = False
        self._thread = threading.Thread(
            target=self._loop.run_until_complete,
            args=(self._server.run(listener),),
            name="henasy-page",
            daemon=True,
        )
        self._thread.start()

    @property
    def viewers(self) -> int:
        """Those who look now."""
        return len(self._server.viewers)

    def attend(self, about: About, *, tapped: bool = False) -> None:
        """Shows this node from now on.  `tapped`: frames come through `see`, not with the perceptions."""
        self._tapped = tapped
        self._call(lambda: self._server.attend(about))

    def see(self, frame: Frame) -> None:
        """Takes a frame as it comes from the camera, before anything was made of it."""
        self._mailbox.put_frame(frame)

    def write(self, perception: Perception) -> None:
        """Takes what one step made of a frame: two assignments and, if nobody did before, a wake-up call."""
        if not self._tapped:
            self._mailbox.put_frame(perception.frame)
        is_news = perception.fresh or bool(perception.closed) or perception.reset is not None
        self._mailbox.put_perception(perception, is_news=is_news)

    def close(self) -> None:
        """Tells the viewers that the node stops, and frees the port."""
        self._call(self._server.stop)
        self._thread.join(_END_S)
        if not self._thread.is_alive():
            self._loop.close()

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        what = context["message"] if error is None else f"{type(error).__name__}: {' '.join(str(error).split())}"
        if what not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(what)
            self._report(f"page: {what}; the node goes on")

    def _wake(self) -> None:
        self._call(self._server.take)

    def _call(self, action: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # closed: a camera's thread may still come with a frame
            self._loop.call_soon_threadsafe(action)
