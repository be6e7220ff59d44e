"""A stream and a worker share one model, which does one thing at a time."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from henasy_stream.stream.filling import Filling

_log = logging.getLogger(__name__)


class Turns:
    """Who may use the model: the stream goes first and waits for one batch of the worker at most.

    After each step the worker, if it waits, has one batch for sure; further ones only while the stream does not wait.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy = False
        self._stream_waits = False
        self._worker_waits = False
        self._owed = False
        self._closed = False

    @contextmanager
    def stream(self) -> Iterator[None]:
        """A turn of the stream.  Turns of several threads of the stream follow each other."""
        with self._changed:
            self._stream_waits = True
            self._changed.wait_for(lambda: not self._busy and not (self._worker_waits and self._owed))
            self._busy, self._stream_waits = True, False
        try:
            yield
        finally:
            self._leave(owed=True)

    @contextmanager
    def worker(self) -> Iterator[bool]:
        """A turn of the worker; False when it was told to end."""
        with self._changed:
            self._worker_waits = True
            self._changed.wait_for(lambda: self._closed or (not self._busy and (self._owed or not self._stream_waits)))
            self._worker_waits = False
            going_on = not self._closed
            self._busy = self._busy or going_on
        try:
            yield going_on
        finally:
            if going_on:
                self._leave(owed=False)

    def close(self) -> None:
        """The worker has no turns any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _leave(self, *, owed: bool) -> None:
        with self._changed:
            self._busy, self._owed = False, owed
            self._changed.notify_all()


class BackgroundFilling:
    """A thread that fills a bank between the steps of the stream.

    It ends when the bank is full, with `close`, or with the process.
    """

    def __init__(self, filling: Filling, turns: Turns) -> None:
        """`turns`: taken by everybody who uses the model."""
        thread = threading.Thread(target=_fill, args=(filling, turns), name="embed phrases", daemon=True)
        # A daemon thread that still computes while the interpreter goes down can crash it.
        self._end = weakref.finalize(self, _end, turns, thread)
        thread.start()

    def close(self) -> None:
        """Ends the thread after the batch that it is at; what is done is kept on disk."""
        self._end()


def _fill(filling: Filling, turns: Turns) -> None:
    try:
        while not filling.complete:
            with turns.worker() as going_on:
                if not going_on:
                    break
                filling.work()
            filling.report()
    except Exception as error:  # noqa: BLE001 - told by `remark`; captions go on with what is there
        _log.debug("the phrases could not be embedded further", exc_info=True)
        filling.problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
    finally:
        filling.keep()


def _end(turns: Turns, thread: threading.Thread) -> None:
    turns.close()
    thread.join()
