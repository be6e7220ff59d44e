"""What happened, for viewers that come later: who was seen when, which actions there were, how the node fared."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from henasy_stream.web.messages import Action, Result, Sample, Seen, Span

KEPT_NS = 600_000_000_000
"""Ten minutes of stream."""
KEPT_TRACKS, KEPT_SPANS, KEPT_ACTIONS, KEPT_SAMPLES = 400, 400, 400, 300
_LONGEST_GAP_NS = 2_000_000_000
"""Two sightings further apart than this are two spans."""


@dataclass
class _Track:
    label: str
    colour: str
    query: str | None
    spans: deque[list[int]] = field(default_factory=lambda: deque(maxlen=KEPT_SPANS))


class History:
    """Takes each result and sample in order; holds at most ten minutes and so many entries."""

    def __init__(self) -> None:
        self._tracks: dict[int, _Track] = {}
        self._actions: deque[Action] = deque(maxlen=KEPT_ACTIONS)
        self._samples: deque[Sample] = deque(maxlen=KEPT_SAMPLES)
        self._open: Action | None = None
        self._newest_ns: int | None = None

    @property
    def seen(self) -> tuple[Seen, ...]:
        """All tracks that were seen, in the order of their ids."""
        return tuple(
            Seen(
                id=number,
                label=t.label,
                colour=t.colour,
                query=t.query,
                spans=tuple(Span(start_ns=a, end_ns=b) for a, b in t.spans),
            )
            for number, t in sorted(self._tracks.items())
        )

    @property
    def actions(self) -> tuple[Action, ...]:
        """The closed segments, oldest first, and the one that goes on."""
        return (*self._actions, *(() if self._open is None else (self._open,)))

    @property
    def samples(self) -> tuple[Sample, ...]:
        """About one a second, oldest first."""
        return tuple(self._samples)

    def add_sample(self, sample: Sample) -> None:
        """Takes how the node fared."""
        self._samples.append(sample)

    def add(self, result: Result) -> None:
        """Takes a result.  Where time jumps back, as in a file that starts again, what was before is forgotten."""
        now = result.stamp_ns
        if self._newest_ns is not None and now < self._newest_ns - _LONGEST_GAP_NS:
            self._tracks.clear()
            self._actions.clear()
        self._newest_ns = now
        for action in result.closed:
            self._actions.append(action)
        self._open = result.caption
        for track in result.tracks:
            if track.state in ("new", "tracked"):
                known = self._tracks.setdefault(track.id, _Track(track.label, "", None))
                known.label, known.query, known.colour = track.label, track.query, result.colours[track.id]
                _extend(known.spans, now)
        self._forget(now - KEPT_NS)

    def _forget(self, before_ns: int) -> None:
        while self._actions and self._actions[0].end_ns < before_ns:
            self._actions.popleft()
        old = [k for k, t in self._tracks.items() if t.spans[-1][1] < before_ns]
        for number in [*old, *list(self._tracks)[: max(0, len(self._tracks) - len(old) - KEPT_TRACKS)]]:
            self._tracks.pop(number, None)


def _extend(spans: deque[list[int]], now_ns: int) -> None:
    if spans and now_ns - spans[-1][1] <= _LONGEST_GAP_NS:
        spans[-1][1] = max(spans[-1][1], now_ns)  # a clock may step back a little
    else:
        spans.append([now_ns, now_ns])
