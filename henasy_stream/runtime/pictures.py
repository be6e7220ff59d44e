"""The annotated picture, drawn once a frame for whoever shows or keeps it."""

from __future__ import annotations

import time
from functools import partial
from typing import Protocol

from henasy_stream.annotate import annotate
from henasy_stream.preprocess import Rotation, View
from henasy_stream.runtime.latency import Latency
from henasy_stream.runtime.outputs import Outputs
from henasy_stream.runtime.stopping import StopOnSignal
from henasy_stream.sinks.window import WindowSink
from henasy_stream.types import Frame, ModelSpec, Perception, UInt8Array

_LEGEND_EVERY_S = 0.5


class Canvas(Protocol):
    """A video file, a window."""

    def write(self, perception: Perception, picture: UInt8Array | None = None) -> None:
        """Takes the annotated frame (H, W, 3) RGB of a perception."""
        ...

    def close(self) -> None:
        """Finishes what is open."""
        ...


class Pictures:
    """An output that draws each perception and hands the picture to its canvases.

    Args:
        spec: of the model: what it sees of a frame is outlined.
        rotate: degrees clockwise that set the frame upright.
        latency: goes into the legend.
        outputs: counts what a canvas fails at.
    """

    def __init__(self, spec: ModelSpec, rotate: Rotation, latency: Latency, outputs: Outputs) -> None:
        self._spec = spec
        self._rotate = rotate
        self._latency = latency
        self._outputs = outputs
        self._canvases: dict[str, Canvas] = {}
        self._legend = ""
        self._legend_due = 0.0

    def add(self, name: str, canvas: Canvas) -> None:
        """Adds a canvas under the name that reports use."""
        self._canvases[name] = canvas

    def write(self, perception: Perception) -> None:
        """Draws the perception and hands it on."""
        picture = drawn(perception, self._spec, self._rotate, self._current_legend())
        for name, canvas in self._canvases.items():
            self._outputs.attempt(name, partial(canvas.write, perception, picture))

    def close(self) -> None:
        """Finishes every canvas."""
        for name, canvas in self._canvases.items():
            self._outputs.attempt(name, canvas.close)

    def _current_legend(self) -> str:
        # Renewed now and then only: figures that change with every frame cannot be read.
        now = time.monotonic()
        if now >= self._legend_due:
            self._legend_due = now + _LEGEND_EVERY_S
            stages = self._latency.percentiles()
            lines = [f"{name} {stages[name].p50:.0f} ms" for name in ("network", "perception") if name in stages]
            if "age" in stages:
                lines.append(f"age {stages['age'].p95:.0f} ms")
            self._legend = "\n".join(lines)
        return self._legend


def drawn(perception: Perception, spec: ModelSpec, rotate: Rotation, legend: str | None = None) -> UInt8Array:
    """The annotated frame, with what lies outside of what the model sees dimmed."""
    frame = perception.frame
    view = View.plan(frame.height, frame.width, spec.image_size, spec.resize, rotate)
    visible = None if _sees_all(view, frame) else view.visible_polygon
    return annotate(frame, perception, legend, visible=visible)


class ClosingStops:
    """A window whose closing ends the node."""

    def __init__(self, window: WindowSink, stop: StopOnSignal) -> None:
        self._window = window
        self._stop = stop

    def write(self, perception: Perception, picture: UInt8Array | None = None) -> None:
        """Shows the picture."""
        self._window.write(perception, picture)
        if self._window.closed:
            self._stop.request("the window was closed")

    def close(self) -> None:
        """Closes the window."""
        self._window.close()


def _sees_all(view: View, frame: Frame) -> bool:
    return view.region == (0, 0, frame.width, frame.height)
