"""Real videos for the tests, written by OpenCV and edited box by box."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts")
ROTATIONS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


class Videos:
    """Writes clips whose frame i has brightness 8 * i on its left half and black on its right."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name, *, frames=12, size=(64, 48), fps=30.0, fourcc="mp4v"):
        path = self.folder / name
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*fourcc), fps, size)
        assert writer.isOpened()
        for i in range(frames):
            image = np.zeros((size[1], size[0], 3), np.uint8)
            image[:, : size[0] // 2] = 8 * i
            writer.write(image)
        writer.release()
        return path

    def rotate(self, path: Path, degrees: int) -> Path:
        """Writes the rotation matrix of a phone's recording into the track header."""
        data = bytearray(path.read_bytes())
        at = data.find(b"tkhd") + 4 + 4 + 20 + 16
        a, b, c, d = (v << 16 for v in ROTATIONS[degrees])
        data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
        return self._save(path, f"rotated{degrees}", bytes(data))

    def index_first(self, path: Path) -> Path:
        """Moves the index in front of the pictures, as files for the web have it: they open when cut off."""
        boxes = dict(_boxes(path.read_bytes()))
        moov, shift = bytearray(boxes[b"moov"]), len(boxes[b"moov"])
        at = moov.find(b"stco")
        (count,) = struct.unpack_from(">I", moov, at + 8)
        for i in range(count):
            (offset,) = struct.unpack_from(">I", moov, at + 12 + 4 * i)
            struct.pack_into(">I", moov, at + 12 + 4 * i, offset + shift)
        rest = b"".join(body for kind, body in boxes.items() if kind not in (b"ftyp", b"moov"))
        return self._save(path, "index_first", boxes[b"ftyp"] + bytes(moov) + rest)

    def set_durations(self, path: Path, ticks: list[int]) -> Path:
        """Gives every frame its own duration, in ticks of the track's clock."""
        body = struct.pack(">II", 0, len(ticks)) + b"".join(struct.pack(">II", 1, t) for t in ticks)
        new = struct.pack(">I", 8 + len(body)) + b"stts" + body
        data = b"".join(_replace(kind, box, b"stts", new) for kind, box in _boxes(path.read_bytes()))
        return self._save(path, "variable", data)

    def cut(self, path: Path, keep: float) -> Path:
        data = path.read_bytes()
        return self._save(path, "cut", data[: int(len(data) * keep)])

    def _save(self, path: Path, tag: str, data: bytes) -> Path:
        out = path.with_name(f"{path.stem}_{tag}{path.suffix}")
        out.write_bytes(data)
        return out


def _boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        found.append((data[at + 4 : at + 8], data[at : at + size]))
        at += size
    return found


def _replace(kind: bytes, box: bytes, target: bytes, new: bytes) -> bytes:
    if kind == target:
        return new
    if kind not in CONTAINERS:
        return box
    inner = b"".join(_replace(k, b, target, new) for k, b in _boxes(box[8:]))
    return struct.pack(">I", 8 + len(inner)) + kind + inner


@pytest.fixture
def videos(tmp_path: Path) -> Videos:
    return Videos(tmp_path)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("henasy-"):
            thread.join(3.0)
            assert not thread.is_alive(), f"{thread.name} still runs after the test"
