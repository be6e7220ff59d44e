"""What evidence of a contact weighs: its weighted sum is the log-odds of the relation.

Written by `python training/fit_relations.py`, which fits it on streams of the synthetic world that no training sees:
`OWN` for entities that the network finds, `OUTSIDE` for boxes of a detector, there the true ones.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """One for each kind of evidence, in the order of `relation_evidence.CONTACT_EVIDENCE`."""

    evidence: tuple[float, ...]
    offset: float


OWN = Weights(evidence=(-4.409, 1.253, -18.314, 0.148, -1.759, -0.769), offset=0.415)
OUTSIDE = Weights(evidence=(-3.133, 0.822, -19.546, 1.220, 0.430, -1.052), offset=-1.936)
