"""What systemd wants to know of a service of `Type=notify`: sd_notify(3), spoken over its datagram socket."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping

STATUS_PERIOD_S = 1.0
"""So often the line that `systemctl status` shows is renewed."""


class ServiceManager:
    """Tells the service manager that the node is ready, that its loop advances, and what it does.

    Without a manager (no NOTIFY_SOCKET) every call does nothing, and what cannot be sent is lost: a node does not die
    of what it has to say.

    Args:
        environment: has NOTIFY_SOCKET, a path or `@` and an abstract name, and for a watchdog WATCHDOG_USEC and perhaps
            the WATCHDOG_PID that is meant.
        monotonic: the clock.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._monotonic = monotonic
        self._beat_s = _beat_period_s(environment)
        self._next_beat = self._next_status = 0.0
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @property
    def watches(self) -> bool:
        """Whether a watchdog ends a process whose loop does not advance."""
        return self._socket is not None and self._beat_s is not None

    def status(self, text: str) -> None:
        """What the node does, one line for people."""
        self._send(f"STATUS={text}")

    def takes_time(self, text: str, seconds: float) -> None:
        """Not ready yet, for a reason: the manager shall wait so much longer from now on."""
        self._send(f"EXTEND_TIMEOUT_USEC={seconds * 1e6:.0f}", f"STATUS={text}")

    def ready(self) -> None:
        """The node is warm and takes frames."""
        self._send("READY=1")

    def advanced(self, describe: Callable[[], str]) -> None:
        """Feeds the watchdog; call it whenever the loop got somewhere.

        Args:
            describe: makes the line for people, which is needed only now and then.
        """
        if self._socket is None:
            return
        now = self._monotonic()
        if self._beat_s is not None and now >= self._next_beat:
            self._next_beat = now + self._beat_s
            self._send("WATCHDOG=1")
        if now >= self._next_status:
            self._next_status = now + STATUS_PERIOD_S
            self.status(describe())

    def stopping(self, reason: str) -> None:
        """The node finishes its files and ends."""
        self._send("STOPPING=1", f"STATUS=stopping: {reason}")

    def close(self) -> None:
        """Gives the socket back; calling it again does nothing."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _send(self, *assignments: str) -> None:
        if self._socket is not None:
            # A line break would begin another assignment.
            message = "\n".join(" ".join(text.split()) for text in assignments)
            with contextlib.suppress(OSError):
                self._socket.sendto(message.encode(errors="replace"), self._address)


def _beat_period_s(environment: Mapping[str, str]) -> float | None:
    """A quarter of the time within which a beat must come; None where no watchdog waits for this process."""
    meant, limit_us = environment.get("WATCHDOG_PID"), environment.get("WATCHDOG_USEC", "")
    if meant not in (None, str(os.getpid())) or not limit_us.isdecimal() or int(limit_us) == 0:
        return None
    return int(limit_us) / 4e6
