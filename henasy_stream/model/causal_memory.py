"""Three memories of the last T frames: for streams, for whole clips at once, and for clips frame by frame.

Frames are the slow part of a folded axis: row t * B + b of F = n * B rows is frame t of stream b.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from henasy_stream.model.band_attention import Band


class RingMemory:
    """Writes into rings in place; a row is never read by a frame older than the one that wrote it.

    Args:
        rings: (T, B, …) by site.
        frames: counter of the first frame to come; only its remainder by T is used.
        filled: how many of the last frames the rings hold, at most T.
    """

    def __init__(self, rings: dict[str, Tensor], *, frames: int, filled: int) -> None:
        self.rings = rings
        self.frames = frames
        self.filled = filled

    def bands(self, site: str, new: Tensor) -> Iterator[Band]:
        """One frame after the other."""
        ring = self.rings[site]
        width, batch = ring.shape[:2]
        for index, content in enumerate(torch.split(new, batch)):
            slot = (self.frames + index) % width
            ring[slot] = content
            lags = (slot - torch.arange(width, device=ring.device)) % width
            filled = self.filled + index + 1
            seen = None if filled >= width else (lags < filled)[:, None]
            yield Band(slice(index * batch, (index + 1) * batch), ring, lags, seen)


class ClipMemory:
    """All bands of a clip at once, differentiable.  What it is shown is not kept.

    Args:
        width: T.
        batch: clips.
    """

    def __init__(self, width: int, batch: int) -> None:
        self.width = width
        self.batch = batch

    def bands(self, site: str, new: Tensor) -> Iterator[Band]:
        """One band that all frames look at: T shifted copies."""
        frames = len(new) // self.batch
        width = min(self.width, frames)
        before = F.pad(new, (0, 0) * (new.dim() - 1) + ((width - 1) * self.batch, 0))
        rows = [before[(width - 1 - lag) * self.batch :][: len(new)] for lag in range(width)]
        lags = torch.arange(width, device=new.device)
        seen = torch.arange(frames, device=new.device).repeat_interleave(self.batch) >= lags[:, None]
        yield Band(slice(0, len(new)), torch.stack(rows), lags, seen)


class FrameMemory:
    """A clip frame by frame, differentiable: `bands` is called once a site for every frame.

    Args:
        width: T.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.past: dict[str, deque[Tensor]] = {}

    def bands(self, site: str, new: Tensor) -> Iterator[Band]:
        """The band of one frame, newest first."""
        past = self.past.setdefault(site, deque(maxlen=self.width))
        past.appendleft(new)
        lags = torch.arange(len(past), device=new.device)
        yield Band(slice(0, len(new)), torch.stack(list(past)), lags, None)
