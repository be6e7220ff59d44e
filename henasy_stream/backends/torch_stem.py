"""Neighbouring windows share pictures, and the stem sees each picture by itself: it need not see one twice.

All behind the stem knows the place of a frame in the window (the temporal embedding), so nothing else can be shared.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor, nn

from henasy_stream.model.timesformer import Stemmed
from henasy_stream.types import UInt8Array


class StemMemory:
    """What a stem made of the last pictures, found again by their content; what comes out depends on nothing else.

    Each picture runs by itself, so that it gives the same bits whether its neighbours are remembered or not.

    Args:
        stem: (n, 3, S, S) → (n, K, D) and (n, C, …) or None.
        keep: pictures to remember; two windows' worth lets two streams take turns.
    """

    def __init__(self, stem: nn.Module, keep: int) -> None:
        self._stem = stem
        self._keep = keep
        self._seen: OrderedDict[bytes, Stemmed] = OrderedDict()
        self.runs = 0

    def __call__(self, clip: UInt8Array, video: Tensor) -> Stemmed:
        """Pictures (T, S, S, 3) and the same normalised, (T, 3, S, S), through the stem."""
        found = [self._of(picture, video[index : index + 1]) for index, picture in enumerate(clip)]
        fine = [one.fine for one in found if one.fine is not None]
        return Stemmed(torch.cat([one.patches for one in found]), torch.cat(fine) if fine else None)

    def _of(self, picture: UInt8Array, normalised: Tensor) -> Stemmed:
        key = np.ascontiguousarray(picture).tobytes()
        seen = self._seen.get(key)
        if seen is None:
            self.runs += 1
            seen = self._seen[key] = Stemmed(*self._stem(normalised))
            if len(self._seen) > self._keep:
                self._seen.popitem(last=False)
        else:
            self._seen.move_to_end(key)
        return seen
