"""What the machine has: a display, ports, disks."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from pathlib import Path

from henasy_stream.checks.finding import Finding

_OLDEST, _NEWEST = (3, 10), (3, 13)
_LITTLE_SPACE = 2e9


def system() -> list[Finding]:
    """Operating system, processor, memory, Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    text = (
        f"{platform.system()} {platform.release()} {platform.machine()}, {len(os.sched_getaffinity(0))} cores, "
        f"{memory:.1f} GB of memory; Python {platform.python_version()}"
    )
    version = sys.version_info[:2]
    if _OLDEST <= version <= _NEWEST:
        return [Finding(about="system", text=text)]
    text += f"; tested are {'.'.join(map(str, _OLDEST))} to {'.'.join(map(str, _NEWEST))}"
    return [Finding(mark="note", about="system", text=text, remedy="make the virtual environment with one of those")]


def display() -> list[Finding]:
    """Whether a window can be opened."""
    from henasy_stream.sinks.window import WindowSink

    available, reason = WindowSink.available()
    if available:
        return [Finding(about="display", text="a window can be opened")]
    remedy = "--view shows a page in any browser; --annotate FILE writes a video"
    return [Finding(mark="note", about="display", text=f"no window: {reason}", remedy=remedy)]


def ports() -> list[Finding]:
    """Whether the ports are free that the documentation uses."""
    from henasy_stream.web.address import DEFAULT_PORT

    return [
        port(5560, "--publish zmq://127.0.0.1:{}"),
        port(5562, "--control zmq://127.0.0.1:{}"),
        port(DEFAULT_PORT, "--view --view-address 127.0.0.1:{}"),
    ]


def port(number: int, option: str) -> Finding:
    """Whether a port of this machine is free for an option, which has {} where the number belongs."""
    address = f"127.0.0.1:{number}"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as ZeroMQ binds
        try:
            probe.bind(("127.0.0.1", number))
        except OSError as error:
            remedy = f"stop the program that listens there (ss -ltnp), or {option.format(number + 1)}"
            return Finding(mark="note", about="port", text=f"{address}: {error.strerror}", remedy=remedy)
    return Finding(about="port", text=f"{address} is free for {option.split()[0]}")


def cache() -> list[Finding]:
    """Whether downloads and converted weights have a place."""
    from henasy_stream.cache import cache_path

    folder = cache_path()
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        remedy = "set HENASY_CACHE to a folder you may write"
        return [Finding(mark="problem", about="cache", text=f"{folder} cannot be written", remedy=remedy)]
    free = shutil.disk_usage(there).free
    text = f"{folder}: {free / 1e9:.1f} GB free"
    if free < _LITTLE_SPACE:
        remedy = "make room before you download weights, or set HENASY_CACHE to a folder on another disk"
        return [Finding(mark="note", about="cache", text=text, remedy=remedy)]
    return [Finding(about="cache", text=text)]


def here() -> list[Finding]:
    """The folder in which --record and --annotate write, unless they name another."""
    folder = Path.cwd()
    text = f"{folder}: {shutil.disk_usage(folder).free / 1e9:.1f} GB free for records"
    if os.access(folder, os.W_OK):
        return [Finding(about="disk", text=text)]
    remedy = "name another folder to --record and --annotate"
    return [Finding(mark="note", about="disk", text=f"{folder} cannot be written", remedy=remedy)]
