"""The two ways to run a network over samples: a window computed anew, or frame by frame with a memory.

Causal weights advance by one step for every point of the sampler's grid, never twice and never by a call:

- points that passed without a frame are filled with the nearer of their two neighbours, as in a window;
- the memory starts afresh when there are more of them than the network remembers frames, since nothing that it sees
  would be real, and when a live source missed some because a step takes longer than a period: each frame filled would
  put the stream further behind.  Tracks and captions go on.

So a frame costs at most T steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from henasy_stream.backends.base import Backend, NetworkState, checked
from henasy_stream.config import StreamConfig
from henasy_stream.errors import UserError
from henasy_stream.stream.sampler import Int64Array, SampleRing, choose_hop
from henasy_stream.types import ModelSpec, NetworkOutput


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How fast the network is, and what follows.

    step_s: measured seconds of a window or a step.  period_s: between two samples.  hop: new samples to wait for until
    the next look.  behind: it cannot keep up: windows share no frame, or a live source's steps outlast a period.
    """

    step_s: float
    period_s: float
    hop: int
    behind: bool


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Look:
    """What the network said, the state it is in now, and the stamps, at most (T,), of all samples that it has seen.

    coverage: how much of what it can see is samples, 0..1.  steps: how often it ran.  notice: for people.
    """

    output: NetworkOutput
    state: NetworkState | None
    stamps: Int64Array
    coverage: float
    steps: int
    notice: str | None = None


class Network:
    """Runs a backend in one of the two ways.  Holds no stream.

    Attributes:
        causal: it advances frame by frame.
    """

    def __init__(self, backend: Backend, config: StreamConfig) -> None:
        """Raises UserError when the weights or the sizes do not allow what `config` asks for."""
        self._backend, self._spec, self._hop = backend, backend.spec, config.hop
        self.causal = backend.spec.attention == "causal"
        _check(config, backend.spec)

    @property
    def frames_out(self) -> int:
        """Frames of an output's masks."""
        return 1 if self.causal else self._spec.num_frames

    def initial_state(self) -> NetworkState | None:
        """Before the first sample; None for weights that remember nothing."""
        return self._backend.initial_state() if self.causal else None

    def warm_up(self) -> None:
        """Runs over grey pictures."""
        grey = np.full((self._spec.num_frames, self._spec.image_size, self._spec.image_size, 3), 127, np.uint8)
        if self.causal:
            self._backend.step(self._backend.initial_state(), grey[0])
        else:
            self._backend.run_window(grey)

    def pace(self, step_s: float, period_ns: int, *, live: bool) -> Pace:
        """From the smoothed seconds of a window or a step; `live`: frames are lost while the network runs."""
        period_s = period_ns / 1e9
        if self.causal:
            return Pace(step_s=step_s, period_s=period_s, hop=1, behind=live and step_s > period_s)
        frames = self._spec.num_frames
        hop = choose_hop(self._hop, live=live, step_s=step_s, period_ns=period_ns, num_frames=frames)
        return Pace(step_s=step_s, period_s=period_s, hop=hop, behind=hop >= max(2, frames))

    def look(self, ring: SampleRing, state: NetworkState | None, new: int, pace: Pace) -> Look:
        """One hop.

        Args:
            ring: of the last T samples.
            state: is consumed.
            new: points of the grid that were filled since the last look, the newest frame's among them.
            pace: so far.

        Raises:
            FloatingPointError: the output is not finite; the state must not be used again before its reset.
        """
        clip, stamps = ring.window()
        if state is None:
            output = checked(self._backend.run_window(clip))
            notice = None
            if pace.behind:
                notice = (
                    f"a window takes {pace.step_s:.2f} s, too long for neighbouring windows to share a frame: "
                    "tracks are continued by appearance and motion only"
                )
            return Look(output=output, state=None, stamps=stamps, coverage=ring.coverage, steps=1, notice=notice)
        notice = None
        if new > 1 and pace.behind:
            notice = (
                f"a step takes {pace.step_s:.2f} s, longer than the {pace.period_s:.2f} s between two samples: "
                "after each missed one the network's memory starts afresh; tracks go on"
            )
        elif new > len(stamps):
            notice = f"{new - 1} samples are missing: the network's memory of {len(stamps)} starts afresh, tracks go on"
        if notice is not None:
            state, new = state.reset(), 1
        for image in clip[-new:]:
            state, output = self._backend.step(state, image)
        seen = state.filled
        coverage = seen / len(stamps)
        return Look(
            output=checked(output), state=state, stamps=stamps[-seen:], coverage=coverage, steps=new, notice=notice
        )


def _check(config: StreamConfig, spec: ModelSpec) -> None:
    if config.mode not in ("auto", spec.attention):
        raise UserError(
            f"mode is {config.mode!r}, but {spec.model_id} was trained for {spec.attention!r}: "
            "leave mode out or choose other weights"
        )
    if spec.attention == "causal":
        if config.hop not in (0, 1):
            raise UserError(f"hop is {config.hop}: causal weights advance with every sample; leave hop out")
    elif not 0 <= config.hop < max(2, spec.num_frames):
        raise UserError(f"hop is {config.hop}: give 0 (adaptive) or 1 to {spec.num_frames - 1} samples")
