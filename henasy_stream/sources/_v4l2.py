"""What Linux knows about cameras: which exist, under which stable names, and in which formats they deliver."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from henasy_stream.errors import UserError

Ioctl = Callable[[int, int, bytearray], object]

# linux/videodev2.h: _IOWR('V', number, struct)
_ENUM_FMT = 0xC0405602
_ENUM_FRAMESIZES = 0xC02C564A
_ENUM_FRAMEINTERVALS = 0xC034564B
_DISCRETE = 1
_RAW = ("YUYV", "UYVY", "YUY2", "YU12", "NV12", "RGB3", "BGR3")
_USB2_BYTES_PER_S = 24_000_000  # what an isochronous USB 2 endpoint carries


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One way in which a camera can deliver."""

    fourcc: str
    width: int
    height: int
    fps: float

    def __str__(self) -> str:
        return f"{self.fourcc} {self.width}x{self.height} at {self.fps:g} fps"


def list_cameras(sys: Path = Path("/sys/class/video4linux"), dev: Path = Path("/dev")) -> list[str]:
    """`/dev/video0 (name)` of every capture device, sorted by number."""
    entries = sorted(sys.glob("video*"), key=lambda p: (len(p.name), p.name))
    return [
        f"{dev / entry.name} ({_text(entry / 'name') or 'no name'})"
        for entry in entries
        if _text(entry / "index") == "0" and (dev / entry.name).exists()  # further indices carry metadata
    ]


def stable_name(device: str, by_id: Path = Path("/dev/v4l/by-id")) -> str | None:
    """The /dev/v4l/by-id link that points to this device, which stays the same when numbers move."""
    if device.startswith(str(by_id)):
        return device
    target = os.path.realpath(device)
    links = sorted(by_id.glob("*")) if by_id.is_dir() else []
    return next((str(link) for link in links if os.path.realpath(link) == target), None)


def check(device: str) -> None:
    """Says what is wrong with a camera's device before a driver is bothered.

    Raises:
        UserError: it does not exist or may not be opened.
    """
    if not Path(device).exists():
        cameras = list_cameras()
        known = f"there are {', '.join(cameras)}" if cameras else "no camera is connected; is it plugged in?"
        raise UserError(f"{device}: no such camera; {known}")
    if not os.access(device, os.R_OK | os.W_OK):
        raise UserError(f"{device}: no permission to open it; run `sudo usermod -aG video $USER` and log in again")


def wants_mjpg(size: tuple[int, int] | None, fps: float | None, formats: Sequence[Format]) -> bool:
    """Whether the size and rate asked for need compressed pictures.

    The camera's own list decides where it exists; else what two bytes a pixel need of USB 2.
    """
    width, height = size or (640, 480)
    rate = fps or 30.0
    fitting = [f for f in formats if (f.width, f.height) == (width, height)]
    if fitting:
        raw_reaches = any(f.fourcc in _RAW and f.fps >= rate - 0.5 for f in fitting)
        return not raw_reaches and any(f.fourcc == "MJPG" for f in fitting)
    return width * height * 2 * rate > _USB2_BYTES_PER_S


def reaching(formats: Sequence[Format], size: tuple[int, int], fps: float) -> list[Format]:
    """The formats that reach `fps`, those of the asked size first, then the largest pictures."""
    good = [f for f in formats if f.fps >= fps - 0.5]
    return sorted(good, key=lambda f: ((f.width, f.height) != size, -f.width * f.height, f.fourcc))


def formats(device: str, ioctl: Ioctl | None = None) -> list[Format]:
    """The camera's own list of discrete formats, sizes and rates; empty where the driver gives none."""
    try:
        if ioctl is not None:
            return _enumerate(0, ioctl)
        import fcntl

        fd = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return []
    try:
        return _enumerate(fd, lambda f, request, data: fcntl.ioctl(f, request, data, True))
    finally:
        os.close(fd)


def _enumerate(fd: int, ioctl: Ioctl) -> list[Format]:
    found = []
    for code in _pixel_formats(fd, ioctl):
        for width, height in _sizes(fd, ioctl, code):
            fourcc = code.to_bytes(4, "little").decode("ascii", "replace")
            found += [
                Format(fourcc=fourcc, width=width, height=height, fps=r) for r in _rates(fd, ioctl, code, width, height)
            ]
    return found


def _query(fd: int, ioctl: Ioctl, request: int, head: tuple[int, ...], size: int) -> bytearray | None:
    data = bytearray(struct.pack(f"{len(head)}I", *head).ljust(size, b"\0"))
    try:
        ioctl(fd, request, data)
    except OSError:  # the driver's way to say that the list ends
        return None
    return data


def _pixel_formats(fd: int, ioctl: Ioctl) -> list[int]:
    codes: list[int] = []
    while len(codes) < 64 and (data := _query(fd, ioctl, _ENUM_FMT, (len(codes), 1), 64)):  # 1: video capture
        codes.append(struct.unpack_from("I", data, 44)[0])
    return codes


def _sizes(fd: int, ioctl: Ioctl, code: int) -> list[tuple[int, int]]:
    sizes: list[tuple[int, int]] = []
    while len(sizes) < 256 and (data := _query(fd, ioctl, _ENUM_FRAMESIZES, (len(sizes), code), 44)):
        kind, width, height = struct.unpack_from("3I", data, 8)
        if kind != _DISCRETE:
            return []
        sizes.append((width, height))
    return sizes


def _rates(fd: int, ioctl: Ioctl, code: int, width: int, height: int) -> list[float]:
    rates: list[float] = []
    while len(rates) < 64 and (data := _query(fd, ioctl, _ENUM_FRAMEINTERVALS, (len(rates), code, width, height), 52)):
        kind, numerator, denominator = struct.unpack_from("3I", data, 16)
        if kind != _DISCRETE or numerator == 0:
            break
        rates.append(round(denominator / numerator, 3))
    return rates


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
