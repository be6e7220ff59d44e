"""Text as coverage bitmaps.

OpenCV 5 has a font of its own (Latin, Cyrillic, Chinese and more); with OpenCV 4 Pillow draws, in DejaVu where the
system has it, else in its built-in font, which knows ASCII.  What a font lacks becomes a question mark.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from henasy_stream.types import UInt8Array

_LONGEST = 400
_HAS_OPENCV_FONT = hasattr(cv2, "FontFace")


def clean(text: str) -> str:
    """One line of printable characters, not endlessly long."""
    text = text[:_LONGEST].encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() else " " for c in text)


def line_height(size: int) -> int:
    """Height in pixels of every bitmap of this font size; the baseline lies at `size`."""
    return size + max(2, round(size * 0.32))


@lru_cache(maxsize=512)
def ink(text: str, size: int, bold: bool = False) -> UInt8Array:
    """Coverage (line_height(size), W), 0..255, of one line of text; read-only because it is cached."""
    text = clean(text)
    mask = _opencv_ink(text, size, bold) if _HAS_OPENCV_FONT else _pillow_ink(text, size, bold)
    mask.setflags(write=False)
    return mask


def width_of(text: str, size: int, bold: bool = False) -> int:
    """Width in pixels of the line."""
    return int(ink(text, size, bold).shape[1])


@lru_cache(maxsize=512)
def fit(text: str, size: int, width: int, smallest: int, bold: bool = False) -> tuple[str, int]:
    """The text and font size that fit into `width` pixels: smaller letters first, then an ellipsis.

    The text is empty if not even one letter fits.
    """
    text = clean(text)
    while size > smallest and width_of(text, size, bold) > width:
        size = max(smallest, min(size - 1, int(size * width / width_of(text, size, bold))))
    if width_of(text, size, bold) <= width:
        return text, size
    few, many = 0, len(text)  # letters that fit, letters that do not
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (middle, many) if width_of(text[:middle].rstrip() + "…", size, bold) <= width else (few, middle)
    return (text[:few].rstrip() + "…" if few else ""), size


@lru_cache(maxsize=1)
def _face() -> cv2.FontFace:
    return cv2.FontFace("sans")


def _opencv_ink(text: str, size: int, bold: bool) -> UInt8Array:
    face, weight = _face(), 600 if bold else 400
    x, _, w, _ = cv2.getTextSize((0, 0), text, (0, 0), face, size, weight)
    canvas = np.zeros((line_height(size), max(1, x + w + 1)), np.uint8)
    cv2.putText(canvas, text, (0, size), (255,), face, size, weight)
    return canvas


@lru_cache(maxsize=32)
def _pillow_font(size: int, bold: bool) -> tuple[ImageFont.ImageFont | ImageFont.FreeTypeFont, bool]:
    """The font, and whether it knows more than ASCII."""
    try:
        return ImageFont.truetype("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf", size * 0.92), True
    except OSError:
        return ImageFont.load_default(size), False


def _pillow_ink(text: str, size: int, bold: bool) -> UInt8Array:
    font, unicode = _pillow_font(size, bold)
    if not unicode:
        text = text.replace("…", "...").replace("–", "-").replace("·", "\0")
        text = unicodedata.normalize("NFKD", text).encode("ascii", "replace").decode("ascii").replace("\0", "·")
    width = max(1, int(np.ceil(font.getlength(text))) + 1)
    image = Image.new("L", (width, line_height(size)))
    ImageDraw.Draw(image).text((0, size), text, fill=255, font=font, anchor="ls")
    return np.array(image)
