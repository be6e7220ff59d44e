"""A stand-in for systemd: the socket that a service of `Type=notify` talks to."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from pathlib import Path


class ServiceManager:
    """Collects what a service says.  watchdog_s: the limit that it is told; None for no watchdog."""

    def __init__(self, path: Path, watchdog_s: float | None = None) -> None:
        self._path = path
        self._watchdog_s = watchdog_s
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.said: list[tuple[float, dict[str, str]]] = []

    @property
    def environment(self) -> Mapping[str, str]:
        told = {"NOTIFY_SOCKET": str(self._path)}
        return told if self._watchdog_s is None else told | {"WATCHDOG_USEC": str(round(self._watchdog_s * 1e6))}

    def listen(self, seconds: float, until: str | None = None) -> bool:
        """Takes messages for so long, or until one assigns this name; whether it came."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                message = self._socket.recv(4096).decode()
            except TimeoutError:
                break
            assigned = dict(line.split("=", 1) for line in message.splitlines())
            self.said.append((time.monotonic(), assigned))
            if until in assigned:
                return True
        return False

    def last(self, name: str) -> str:
        return next((said[name] for _, said in reversed(self.said) if name in said), "")

    def beats(self, since: float) -> list[float]:
        """When the watchdog was fed, since a moment of the monotonic clock."""
        return [at for at, said in self.said if "WATCHDOG" in said and at >= since]

    def close(self) -> None:
        self._socket.close()
        self._path.unlink()
