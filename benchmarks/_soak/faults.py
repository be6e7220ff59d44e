"""What goes wrong with a camera, a network and their users, as generators of frames.

A fault takes the rig, changes something, and yields the frames (None: silence) until it is over.  All of them draw from
one random generator, so that a seed says everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from henasy_stream.types import Frame, UInt8Array

RATES = (10.0, 15.0, 30.0, 60.0, 120.0)
SIZES = ((180, 320), (240, 320), (360, 640), (320, 180))
QUERIES = (("cup",), ("knife", "plate"), (), ("a hand", "cup", "something that is not there"), ("book",))
URI = "soak"


@dataclass(kw_only=True)
class Camera:
    """Shows a short film for ever.  `film`: (N, H, W, 3), `film_fps` pictures a second.  `offset_ns`: what the stamps
    are ahead of the film.
    """

    film: UInt8Array
    film_fps: float
    fps: float = 30.0
    size: tuple[int, int] = SIZES[0]
    time_ns: int = 0
    offset_ns: int = 0
    index: int = 0

    def picture(self) -> UInt8Array:
        """What is to be seen now, in the size of now."""
        picture: UInt8Array = self.film[int(self.time_ns * 1e-9 * self.film_fps) % len(self.film)]
        if picture.shape[:2] == self.size:
            return picture
        return np.asarray(cv2.resize(picture, self.size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)

    def frame(self, picture: UInt8Array | None = None, *, reset: str | None = None) -> Frame:
        """The next frame; of another picture where one is given."""
        self.time_ns += round(1e9 / self.fps)
        return self.repeat(self.picture() if picture is None else picture, reset=reset)

    def repeat(self, picture: UInt8Array, *, reset: str | None = None) -> Frame:
        """Another frame of the same moment."""
        self.index += 1
        return Frame(
            image=picture,
            stamp_ns=self.time_ns + self.offset_ns,
            index=self.index - 1,
            source=URI,
            stamp_source="synthetic",
            reset=reset,
        )


@dataclass(kw_only=True)
class Rig:
    """What faults can touch.

    fail_next: makes the network's next window an error or NaN.  ask: sets the queries.  lost: called with True when
    the source goes away and with False when it is back.
    """

    camera: Camera
    rng: np.random.Generator
    fail_next: Callable[[Literal["error", "nan"]], None]
    ask: Callable[[Sequence[str]], None]
    lost: Callable[[bool], None] = field(default=lambda _: None)


Fault = Callable[[Rig], Iterator[Frame | None]]


def _gap(rig: Rig) -> Iterator[Frame | None]:
    rig.camera.time_ns += round(rig.rng.uniform(0.3, 30) * 1e9)
    yield rig.camera.frame()


def _duplicates(rig: Rig) -> Iterator[Frame | None]:
    picture = rig.camera.picture()
    yield rig.camera.frame(picture)
    for _ in range(rig.rng.integers(1, 10)):
        yield rig.camera.repeat(picture)


def _freeze(rig: Rig) -> Iterator[Frame | None]:
    picture = rig.camera.picture()
    for _ in range(rig.rng.integers(5, 60)):
        yield rig.camera.frame(picture)


def _stamps_back(rig: Rig) -> Iterator[Frame | None]:
    back_ns = round(rig.rng.uniform(0.001, 7200) * 1e9)
    rig.camera.offset_ns = max(rig.camera.offset_ns - back_ns, -rig.camera.time_ns)  # no camera stamps below zero
    yield rig.camera.frame()


def _stamps_forward(rig: Rig) -> Iterator[Frame | None]:
    rig.camera.offset_ns += round(rig.rng.uniform(1, 7200) * 1e9)
    yield rig.camera.frame()


def _stamp_zero(rig: Rig) -> Iterator[Frame | None]:
    rig.camera.offset_ns = -rig.camera.time_ns
    yield rig.camera.repeat(rig.camera.picture())


def _resolution(rig: Rig) -> Iterator[Frame | None]:
    rig.camera.size = SIZES[rig.rng.integers(len(SIZES))]
    yield rig.camera.frame()


def _rate(rig: Rig) -> Iterator[Frame | None]:
    rig.camera.fps = RATES[rig.rng.integers(len(RATES))]
    yield rig.camera.frame()


def _black(rig: Rig) -> Iterator[Frame | None]:
    grey = 255 * rig.rng.integers(2)
    for _ in range(rig.rng.integers(5, 60)):
        yield rig.camera.frame(np.full((*rig.camera.size, 3), grey, np.uint8))


def _noise(rig: Rig) -> Iterator[Frame | None]:
    for _ in range(rig.rng.integers(1, 20)):
        yield rig.camera.frame(rig.rng.integers(0, 256, (*rig.camera.size, 3), np.uint8))


def _source_lost(rig: Rig) -> Iterator[Frame | None]:
    rig.lost(True)
    for _ in range(rig.rng.integers(1, 20)):
        yield None
    rig.lost(False)
    rig.camera.time_ns += round(rig.rng.uniform(0.1, 60) * 1e9)
    yield rig.camera.frame(reset="camera reconnected")


def _network_error(rig: Rig) -> Iterator[Frame | None]:
    rig.fail_next("error")
    yield rig.camera.frame()


def _network_nan(rig: Rig) -> Iterator[Frame | None]:
    rig.fail_next("nan")
    yield rig.camera.frame()


def _queries(rig: Rig) -> Iterator[Frame | None]:
    rig.ask(QUERIES[rig.rng.integers(len(QUERIES))])
    yield rig.camera.frame()


FAULTS: dict[str, Fault] = {
    "gap": _gap,
    "duplicate frames": _duplicates,
    "frozen picture": _freeze,
    "stamps jump back": _stamps_back,
    "stamps jump forward": _stamps_forward,
    "stamps start at zero": _stamp_zero,
    "another resolution": _resolution,
    "another rate": _rate,
    "black or white": _black,
    "noise": _noise,
    "source lost and back": _source_lost,
    "error in the network": _network_error,
    "NaN from the network": _network_nan,
    "other queries": _queries,
}
