"""Make the README's picture with the program itself: `python docs/make_pictures.py`."""

from __future__ import annotations

from pathlib import Path

import cv2

import henasy_stream as hs

FOLDER = Path(__file__).resolve().parent / "images"
URI, FRAME, QUERIES = "world?seed=8&size=1280x720&fps=10", 85, ("phone", "picks up", "zebra")


def main() -> None:
    """Run the demo up to one frame and keep that frame as the annotated video shows it."""
    FOLDER.mkdir(exist_ok=True)
    with hs.open_source(URI) as source:
        for perception in hs.stream(hs.load("demo"), source, queries=QUERIES):
            if perception.frame.index == FRAME:
                picture = hs.annotate(perception.frame, perception)
                cv2.imwrite(str(FOLDER / "demo.png"), picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
                return


if __name__ == "__main__":
    main()
