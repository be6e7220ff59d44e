"""What a video file's own bytes say about it: text, an index that is missing, an end that is missing."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

_TOP_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid", b"moof", b"sidx", b"styp", b"pnot")


@dataclass(frozen=True, kw_only=True)
class Container:
    """`kind` by magic bytes; `cut_off` when the container announces more bytes than the file has.

    `has_index` is False for an mp4 whose index (the moov box, written last by most recorders) is not there.
    """

    kind: Literal["mp4", "avi", "matroska", "text", "other"]
    cut_off: bool = False
    has_index: bool = True

    @property
    def counts_frames(self) -> bool:
        """Whether the header holds a count of frames; elsewhere OpenCV estimates one from the duration."""
        return self.kind in ("mp4", "avi")


def inspect(path: Path) -> Container:
    """Reads a few headers of the file, not its contents.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
        if head[4:8] in _TOP_BOXES:
            return _inspect_mp4(file, size)
        if head[:4] == b"RIFF":
            return Container(kind="avi", cut_off=int.from_bytes(head[4:8], "little") + 8 > size)
        if head[:4] == b"\x1a\x45\xdf\xa3":
            return Container(kind="matroska", cut_off=_matroska_size(head) > size)
    return Container(kind="text" if _is_text(head) else "other")


def _inspect_mp4(file: BinaryIO, size: int) -> Container:
    offset, has_index = 0, False
    while offset + 8 <= size:
        file.seek(offset)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:  # the box reaches to the end of the file
            length = size - offset
        if length < 8:
            break
        has_index |= kind in (b"moov", b"moof") and offset + length <= size
        offset += length
    return Container(kind="mp4", cut_off=offset > size, has_index=has_index)


def _matroska_size(head: bytes) -> int:
    """The file's size as its EBML header and segment announce it; 0 when the segment's size is left open."""
    end, offset = _ebml_size(head, 4)
    offset += end
    if head[offset : offset + 4] != b"\x18\x53\x80\x67":
        return 0
    length, offset = _ebml_size(head, offset + 4)
    return offset + length if length else 0


def _ebml_size(head: bytes, offset: int) -> tuple[int, int]:
    """An EBML variable-length size at `offset` and the offset behind it; size 0 when it is the code for unknown."""
    if offset >= len(head) or head[offset] == 0:
        return 0, offset + 1
    width = 9 - head[offset].bit_length()
    bits = 7 * width
    value = int.from_bytes(head[offset : offset + width], "big") & ((1 << bits) - 1)
    return (0 if value == (1 << bits) - 1 else value), offset + width


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # incremental: the probe may end inside a character
    except UnicodeDecodeError:
        return False
    return "\0" not in text and sum(c.isprintable() or c.isspace() for c in text) >= 0.95 * len(text)
