"""Folders and patterns of images, in natural order (img_2 before img_10), at a fixed rate.

16-bit values are scaled by their full range; transparent pixels show black; EXIF orientation is obeyed.
"""

from __future__ import annotations

import glob
import re
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from henasy_stream.errors import UserError
from henasy_stream.sources import _paths
from henasy_stream.sources._opencv import cv2
from henasy_stream.sources.base import EndOfSource, SourceBase
from henasy_stream.types import Frame, UInt8Array

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2")
DEFAULT_FPS = 10.0
MAX_PIXELS = 100_000_000
_EXIF_ORIENTATION = 0x0112


class UnreadableImage(ValueError):  # noqa: N818 - says what the image is
    """Why one image gives no picture."""


class ImageSource(SourceBase):
    """Images of a folder, a glob, or a single one; image `i` of the list is stamped `i / fps` seconds.

    Images that cannot be decoded are left out, counted in `skipped` and noticed; their place in time stays empty.
    Sizes may differ: `Frame.reset` is set wherever the size changes.

    Raises:
        UserError: nothing there, no image among it, or none that can be decoded.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        path, fps = split_query(uri)
        self.fps = fps or DEFAULT_FPS
        self.skipped = 0
        self._paths = list_images(path)
        self._position = 0
        self._size: tuple[int, int] | None = None
        self._first_reason = ""
        self._next = self._decode()
        if self._next is None:
            many = "" if len(self._paths) == 1 else f"; none of the {len(self._paths)} images can be decoded"
            raise UserError(self._first_reason + many)

    def read(self, timeout_s: float = 1.0) -> Frame | None:
        """The next image.

        Raises:
            EndOfSource: after the last one.
        """
        decoded = self._next or self._decode()
        self._next = None
        if decoded is None:
            if self.skipped > 1:
                self._notice(f"{self.uri}: {self.skipped} of {len(self._paths)} images left out")
            raise EndOfSource(self.uri)
        image, position = decoded
        size = (image.shape[1], image.shape[0])
        changed = self._size not in (None, size)
        self._size = size
        frame = Frame(
            image=image,
            stamp_ns=round(position * 1e9 / self.fps),
            index=self._frames_in,
            source=self.uri,
            reset=f"resolution changed to {size[0]}x{size[1]}" if changed else None,
        )
        self._frames_in += 1
        return frame

    def close(self) -> None:
        """Ends the source."""
        self._next, self._position = None, len(self._paths)

    def _decode(self) -> tuple[UInt8Array, int] | None:
        while self._position < len(self._paths):
            position = self._position
            self._position += 1
            try:
                return read_image(self._paths[position]), position
            except UnreadableImage as reason:
                self.skipped += 1
                if self.skipped == 1:
                    self._first_reason = str(reason)
                    self._notice(f"{reason}: left out")
        return None


def split_query(uri: str) -> tuple[str, float | None]:
    """The path and the rate of `path?fps=10`; the rate is None when it is not given.

    Raises:
        UserError: the rate is no positive number, or the query asks for something else.
    """
    match = re.fullmatch(r"(.+)\?([A-Za-z_]+)=([^?*/]*)", uri)
    if match is None or Path(uri).exists():
        return uri, None
    path, key, value = match.groups()
    if key != "fps":
        raise UserError(f"{uri}: unknown option {key!r} of an image source; the only one is fps, as {path}?fps=10")
    try:
        fps = float(value)
    except ValueError:
        fps = 0.0
    if not 0 < fps <= 1000:
        raise UserError(f"{uri}: fps={value} is no rate; give images per second between 0 and 1000, as {path}?fps=10")
    return path, fps


def natural_key(path: Path) -> tuple[tuple[bool, int, str], ...]:
    """Sorts digits by value and text without regard to case: a2 < a10 < B1."""
    parts = re.split(r"(\d+)", str(path).casefold())
    return tuple((not p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts)


def list_images(pattern: str) -> list[Path]:
    """The images that a file, a folder or a glob names, in natural order.

    Raises:
        UserError: nothing is there, or nothing of it is an image.
    """
    root = Path(pattern).expanduser()
    try:
        if root.is_dir():
            found, place = list(root.iterdir()), f"the folder {root}"
        elif root.exists():
            return [root]
        elif any(c in pattern for c in "*?["):
            matches = glob.glob(str(root), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
            found, place = [Path(p) for p in matches], f"the pattern {pattern}"
        else:
            raise _paths.missing(root)
    except OSError as error:
        raise _paths.unreadable(root, error) from error
    images = [p for p in found if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file() and not p.name.startswith(".")]
    if images:
        return sorted(images, key=natural_key)
    if not found:
        raise UserError(f"{place} {'is empty' if root.is_dir() else 'matches no file'}; give one that holds images")
    video = next(
        (p for p in sorted(found) if p.suffix.lower() in (".mp4", ".mov", ".avi", ".mkv", ".webm", ".gif")), None
    )
    hint = f"to play the video in it give {video}" if video else f"known are {', '.join(IMAGE_SUFFIXES)}"
    raise UserError(f"{place} holds no images among {len(found)} entries; {hint}")


def read_image(path: Path) -> UInt8Array:
    """One image as RGB, (H, W, 3) uint8.

    Raises:
        UnreadableImage: it cannot be read or decoded, has over 100 million pixels, or holds other than 8 or 16 bits.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise UnreadableImage(str(_paths.unreadable(path, error))) from error
    if data.size == 0:
        raise UnreadableImage(f"{path}: the file is empty")
    orientation = _header_orientation(data, str(path))
    return _orient(_decode_pixels(data, str(path)), orientation)


def decode_stored(data: UInt8Array, name: str) -> UInt8Array:
    """The image of a file's bytes as RGB, (H, W, 3) uint8, as it is stored: orientation tags are not obeyed.

    Raises:
        UnreadableImage: as `read_image`; it says `name` for the path.
    """
    if data.size == 0:
        raise UnreadableImage(f"{name}: it is empty")
    _header_orientation(data, name)
    return _decode_pixels(data, name)


def _decode_pixels(data: UInt8Array, name: str) -> UInt8Array:
    try:
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None or image.size == 0:
        raise UnreadableImage(f"{name}: not an image that can be decoded")
    if image.dtype not in (np.uint8, np.uint16):
        raise UnreadableImage(f"{name}: holds {image.dtype} values; save it with 8 or 16 bits")
    return _to_rgb8(image)


def _header_orientation(data: UInt8Array, name: str) -> int:
    """The EXIF orientation 1..8, after a look at the size that the header announces, before any pixel is decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data.tobytes())) as header:
                width, height = header.size
                is_tiff = header.format == "TIFF"  # OpenCV turns TIFF itself
                orientation = 1 if is_tiff else int(header.getexif().get(_EXIF_ORIENTATION, 1))
    except Image.DecompressionBombError:
        width, height, orientation = MAX_PIXELS, 2, 1
    except (UnidentifiedImageError, OSError, ValueError, TypeError, SyntaxError, KeyError):
        return 1  # Pillow does not know it; whether OpenCV does shows when it decodes
    if width * height > MAX_PIXELS:
        raise UnreadableImage(f"{name}: over {MAX_PIXELS // 1_000_000} million pixels; scale it down first")
    return orientation


def _to_rgb8(image: npt.NDArray[Any]) -> UInt8Array:
    if image.dtype == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=1 / 257)
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)
    if image.shape[2] == 4:
        alpha = cv2.cvtColor(image[:, :, 3], cv2.COLOR_GRAY2RGB)
        return np.asarray(cv2.multiply(cv2.cvtColor(image, cv2.COLOR_BGRA2RGB), alpha, scale=1 / 255), np.uint8)
    return np.asarray(cv2.cvtColor(image[:, :, :3], cv2.COLOR_BGR2RGB), np.uint8)


def _orient(image: UInt8Array, orientation: int) -> UInt8Array:
    """Turns the stored picture upright; `orientation` as EXIF tag 0x0112 defines it."""
    if orientation in (2, 4, 5, 7):
        image = np.fliplr(image)
    turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.ascontiguousarray(np.rot90(image, turns))
