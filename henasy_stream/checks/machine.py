"""What the machine has: a display, ports, disks, ROS."""

from __future__ import annotations

import os
import platform
import shutil
import socket
from pathlib import Path

from henasy_stream.checks.finding import Finding

PORT = 5560
_LITTLE_SPACE = 2e9
_SMALL_BUFFER = 8 << 20  # a raw picture of 1920x1080 has 6.2 MB
_BUFFER = Path("/proc/sys/net/core/rmem_max")


def system() -> list[Finding]:
    """Operating system, processor, memory, Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    text = (
        f"{platform.system()} {platform.release()} {platform.machine()}, {len(os.sched_getaffinity(0))} cores, "
        f"{memory:.1f} GB of memory; Python {platform.python_version()}"
    )
    return [Finding(about="system", text=text)]


def display() -> list[Finding]:
    """Whether a window can be opened."""
    from henasy_stream.sinks.window import WindowSink

    available, reason = WindowSink.available()
    if available:
        return [Finding(about="display", text="a window can be opened")]
    remedy = "--annotate FILE writes a video; over ssh, ssh -X"
    return [Finding(mark="note", about="display", text=f"no window: {reason}", remedy=remedy)]


def port(number: str = str(PORT)) -> list[Finding]:
    """Whether the port that the documentation publishes on is free."""
    address = f"127.0.0.1:{number}"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as ZeroMQ binds
        try:
            probe.bind(("127.0.0.1", int(number)))
        except OSError as error:
            remedy = f"stop the program that listens there, or --publish zmq://127.0.0.1:{int(number) + 1}"
            return [Finding(mark="note", about="port", text=f"{address}: {error.strerror}", remedy=remedy)]
    return [Finding(about="port", text=f"{address} is free for --publish")]


def ros(installed: Path = Path("/opt/ros")) -> list[Finding]:
    """Whether a ROS 2 environment is active."""
    if distribution := os.environ.get("ROS_DISTRO"):
        return [Finding(about="ros", text=f"{distribution} is sourced")]
    there = sorted(installed.glob("*/setup.bash"))
    if not there:
        return [Finding(about="ros", text="none found; nothing but a ROS node needs it")]
    return [Finding(mark="note", about="ros", text="installed, not sourced", remedy=f"source {there[-1]}")]


def buffers(file: Path = _BUFFER) -> list[Finding]:
    """Whether the kernel takes large messages over UDP, as ROS sends pictures."""
    if not file.is_file():
        return [Finding(about="udp", text=f"{file} cannot be read here")]
    size = int(file.read_text())
    text = f"net.core.rmem_max is {size / 1024:.0f} KiB"
    if size >= _SMALL_BUFFER:
        return [Finding(about="udp", text=text)]
    text += ", little for pictures over ROS"
    remedy = "sudo sysctl -w net.core.rmem_max=2147483647"
    return [Finding(mark="note" if os.environ.get("ROS_DISTRO") else "ok", about="udp", text=text, remedy=remedy)]


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
