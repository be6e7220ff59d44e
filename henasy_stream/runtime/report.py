"""What the node says to the person who started it, on stderr."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from henasy_stream._progress import Bar, Counted
from henasy_stream.runtime.log import open_console
from henasy_stream.runtime.publishing import publish_lines
from henasy_stream.sinks.builder import NodeStatus

_LABEL_WIDTH = 10
_STAMPS = {"device": "camera", "receive": "moment of arrival", "file": "file", "synthetic": "frame rate"}


if TYPE_CHECKING:
    from henasy_stream.loading import Model
    from henasy_stream.runtime.options import LiveOptions
    from henasy_stream.sources.base import Source
    from henasy_stream.types import Perception


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run came to."""

    ended: str
    seconds: float
    status: NodeStatus
    windows: int
    failed: int
    boxes: Mapping[str, int] = field(default_factory=dict)
    messages: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    files: Sequence[Path] = ()


class Reporter:
    """Labelled lines on stderr: coloured on a terminal, plain elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or open_console()

    def say(self, label: str, text: str) -> None:
        """One line: what it is about, and what there is to say."""
        self._console.print(f"[bold]{label:<{_LABEL_WIDTH}}[/]{escape(text)}")

    def warn(self, text: str) -> None:
        """One line about something that the user should look at."""
        self._console.print(f"[bold yellow]{'note':<{_LABEL_WIDTH}}[/]{escape(text)}")

    def bar(self, label: str, *, counted: Counted = "things", every_s: float = 5.0) -> Bar:
        """A bar below the lines, labelled as they are; where there is no terminal, a line now and then."""
        what = f"{label:<{_LABEL_WIDTH - 1}}"
        return Bar(what, partial(self.say, label), counted=counted, every_s=every_s, console=self._console)

    def summarise(self, summary: Summary) -> None:
        """The lines at the end."""
        status = summary.status
        self._console.print()
        self.say("ended", f"{summary.ended}, after {summary.seconds:.1f} s")
        counts = {
            "in": status.frames_in,
            "used": status.frames_used,
            "dropped": status.frames_dropped,
            "failed": summary.failed,
        }
        self.say("frames", _counts({k: n for k, n in counts.items() if n or k != "failed"}))
        self.say("windows", str(summary.windows))
        if summary.boxes:
            self.say("boxes", _counts(summary.boxes))
        if summary.messages:
            self.say("messages", f"{_counts(summary.messages)} · not sent {status.messages_not_sent}")
        for name, count in summary.lost.items():
            self.warn(f"{name}: {count} frames are missing from it")
        for path in summary.files:
            self.say("file", f"{path} ({_size(path)})")
        self._latency(status)

    def _latency(self, status: NodeStatus) -> None:
        if not status.latency_ms:
            return
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
        table.add_column("latency", min_width=_LABEL_WIDTH - 2, header_style="bold")
        for name in ("p50", "p95", "p99"):
            table.add_column(f"{name} ms", justify="right")
        for stage, p in status.latency_ms.items():
            table.add_row(stage, *(f"{value:.1f}" for value in (p.p50, p.p95, p.p99)))
        self._console.print(table)


class Progress:
    """Tells how far the phrases are embedded, where that takes longer than a second."""

    SOON_S = 1.0

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._began: float | None = None
        self._closed = False
        self._bar: Bar | None = None

    def __call__(self, done: int, total: int) -> None:
        """Called with the number of texts that are embedded, and of all."""
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        if done >= total or self._closed:
            self._take_away()
        elif self._bar is None and now - self._began >= self.SOON_S:
            self._bar = self._reporter.bar("phrases", every_s=3.0)
            self._bar.__enter__()
        if (bar := self._bar) is not None:  # `close` comes from another thread
            bar.show(done, total, "embedded")

    def close(self) -> None:
        """Takes the bar away; no other comes."""
        self._closed = True
        self._take_away()

    def _take_away(self) -> None:
        bar, self._bar, self._began = self._bar, None, None
        if bar is not None:
            bar.__exit__(None, None, None)


class FirstFrame:
    """An output that tells the format of the first frame."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter: Reporter | None = reporter

    def write(self, perception: Perception) -> None:
        """Tells the format, once."""
        if self._reporter is not None:
            frame = perception.frame
            text = f"{frame.width}x{frame.height}, {frame.clock} clock, stamps of the {_STAMPS[frame.stamp_source]}"
            self._reporter.say("frames", text)
        self._reporter = None

    def close(self) -> None:
        """Nothing to finish."""


def introduce(reporter: Reporter, options: LiveOptions, source: Source, model: Model) -> None:
    """The lines at the start: what comes in, what looks at it, and where the result goes."""
    from henasy_stream.loading import BUILT_IN

    spec = model.spec
    reporter.say("source", f"{source.uri} ({'newest frame first' if source.live else 'every frame, in order'})")
    does = ", ".join(name for name in ("entities", "caption", "queries") if name in spec.capabilities)
    window = f"{spec.num_frames} frames over {options.span or spec.span_s:g} s"
    if spec.attention == "causal":
        window = f"causal, remembers {window}"
    name = options.weights if options.weights in BUILT_IN else spec.model_id
    reporter.say("model", f"{name}: {does}; {window}; {model.name}")
    if spec.synthetic and not source.uri.startswith("world"):
        reporter.warn("these weights know the synthetic world only: here their labels and captions mean nothing")
    if options.entities is not None:
        reporter.say("entities", f"from outside: {options.entities}")
    elif "entities" not in spec.capabilities:
        reporter.warn("these weights give captions and scores for free texts, but no entities: no boxes, masks, tracks")
    for line in publish_lines(options, entities=options.entities is not None or "entities" in spec.capabilities):
        reporter.say("publish", line)
    if options.control is not None:
        reporter.say("control", f"{options.control}: queries may be changed there")
    if options.record is not None:
        reporter.say("record", options.record + (" with frames" if options.record_frames else ""))
    if options.annotate is not None:
        reporter.say("annotate", options.annotate)


def _counts(counts: Mapping[str, int]) -> str:
    return " · ".join(f"{name} {count}" for name, count in counts.items())


def _size(path: Path) -> str:
    try:
        size = path.stat().st_size
    except OSError:
        return "missing"
    return f"{size / 1e6:.1f} MB" if size >= 1_000_000 else f"{size / 1e3:.1f} kB"
