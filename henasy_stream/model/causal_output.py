"""What the causal network says of every frame.

Shapes: B batch, n frames of a call, T frames of the band, K patches of a frame, G groups, E entities, D entity width,
Dg width of the global encoder, J joint width.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from henasy_stream.model.grouping import Assignment
from henasy_stream.model.henasy import HenasyOutput


class CausalOutput(NamedTuple):
    """What was seen at every frame, from that frame and the T-1 before.

    video: (B, n, J); entities: (B, n, E, J); not L2-normalised.  per_frame: (B, n, E, D).  boot: (B, n, G, K) or None;
    entity: (B, n, E, G).  probability: (B, n, K, E), 4*K cells with `fine_masks`.  patches: (B, n, K, Dg), before the
    last norm; cls: (B, n, Dg), after it.  attention: (B, n, E, E), see `HenasyOutput`.
    """

    video: Tensor
    entities: Tensor
    per_frame: Tensor
    boot: Assignment | None
    entity: Assignment
    probability: Tensor
    patches: Tensor
    cls: Tensor
    attention: Tensor | None

    def newest(self) -> HenasyOutput:
        """As one window that ends with the newest frame: its embeddings, and what belongs to frames of all of them."""
        return HenasyOutput(
            video=self.video[:, -1],
            entities=self.entities[:, -1],
            per_frame=self.per_frame,
            boot=self.boot,
            entity=self.entity,
            probability=self.probability,
            patches=self.patches.flatten(1, 2),
            cls=self.cls[:, -1],
            attention=None if self.attention is None else self.attention[:, -1],
        )
