"""Whether a frame continues what came before it."""

from __future__ import annotations

from henasy_stream.stream.sampler import Sampler
from henasy_stream.stream.state import StreamState
from henasy_stream.types import Frame


def is_live(frame: Frame) -> bool:
    """Whether frames are lost while nobody takes them."""
    return frame.stamp_source in ("device", "receive")


def discontinuity(state: StreamState, frame: Frame, sampler: Sampler) -> str | None:
    """Why a stream has to start afresh at this frame, or None."""
    if not state.frames:
        return frame.reset
    if frame.reset is not None:
        return frame.reset
    if frame.source != state.source:
        return f"source changed from {state.source} to {frame.source}"
    if (frame.height, frame.width) != (state.height, state.width):
        return f"size changed from {state.width}x{state.height} to {frame.width}x{frame.height}"
    # A slow model is no gap in the stream, a process that was stopped while the network ran is one.
    busy_s = min(state.busy_s, 2 * state.step_s) if is_live(frame) else 0.0
    return sampler.discontinuity(state.ring, frame.stamp_ns, busy_s)
