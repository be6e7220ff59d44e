"""Whether ROS is here, and what its pictures need of the machine."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from henasy_stream.checks.finding import Finding, Mark

_ENOUGH = 8 << 20  # bytes; a raw picture of 1920x1080 has 6.2 MB
_KERNEL = Path("/proc/sys/net/core")
_SHARED = Path("/dev/shm")  # noqa: S108 - it is looked at only
_LITTLE_SHARED = 256 << 20


def ros(installed: Path = Path("/opt/ros")) -> list[Finding]:
    """Whether a ROS 2 environment is active."""
    if distribution := os.environ.get("ROS_DISTRO"):
        middleware = os.environ.get("RMW_IMPLEMENTATION", "its usual middleware")
        domain = os.environ.get("ROS_DOMAIN_ID", "0")
        return [Finding(about="ros", text=f"{distribution} is sourced: {middleware}, domain {domain}")]
    there = sorted(installed.glob("*/setup.bash"))
    if not there:
        return [Finding(about="ros", text="none found; nothing but the ROS node needs it")]
    return [Finding(mark="note", about="ros", text="installed, not sourced", remedy=f"source {there[-1]}")]


def dds(version: Callable[[str], str] = metadata.version) -> list[Finding]:
    """Whether `--publish ros2` can speak DDS by itself."""
    try:
        found = version("cyclonedds")
    except metadata.PackageNotFoundError:
        wheels = platform.machine() == "x86_64"
        remedy = "pip install 'henasy-stream[ros2]'" if wheels else "build cyclonedds from source: docs/dds.md"
        text = "cyclonedds is not installed; only --publish ros2 needs it"
        return [Finding(about="dds", text=text, remedy=remedy)]
    try:
        import cyclonedds.core  # noqa: F401
    except (ImportError, OSError) as error:
        remedy = "pip install --force-reinstall cyclonedds"
        return [Finding(mark="note", about="dds", text=f"cyclonedds cannot be loaded: {error}", remedy=remedy)]
    return [Finding(about="dds", text=f"cyclonedds {found}: --publish ros2 works without ROS")]


def buffers(kernel: Path = _KERNEL) -> list[Finding]:
    """Whether the kernel takes large messages over UDP, as ROS sends pictures."""
    return [_buffer(kernel / name) for name in ("rmem_max", "wmem_max")]


def _buffer(file: Path) -> Finding:
    name = f"net.core.{file.name}"
    if not file.is_file():
        return Finding(about="udp", text=f"{name} cannot be read here")
    size = int(file.read_text())
    text = f"{name} is {size / 1024:.0f} KiB"
    if size >= _ENOUGH:
        return Finding(about="udp", text=text)
    return Finding(
        mark=_matters(),
        about="udp",
        text=f"{text}, little for pictures over ROS",
        remedy=f"sudo sysctl -w {name}=33554432 (lasting: a line in /etc/sysctl.d/60-ros.conf)",
    )


def shared_memory(folder: Path = _SHARED) -> list[Finding]:
    """Whether nodes can hand each other pictures in memory."""
    if not folder.is_dir():
        return [Finding(about="shm", text=f"{folder} is not here: no shared memory between nodes")]
    size = shutil.disk_usage(folder).total
    text = f"{folder} has {size / 1e6:.0f} MB"
    if size >= _LITTLE_SHARED:
        return [Finding(about="shm", text=text)]
    remedy = "in a container, docker run --shm-size=1g or --ipc=host"
    return [Finding(mark=_matters(), about="shm", text=f"{text}, little for pictures over ROS", remedy=remedy)]


def _matters() -> Mark:
    return "note" if os.environ.get("ROS_DISTRO") else "ok"
