"""What evidence of a relation weighs: its weighted sum is the log-odds of the relation.

Written by `python training/fit_relations.py`, which fits it on streams of the synthetic world that no training sees:
`OWN` for entities that the network finds, `OUTSIDE` for boxes of a detector, there the true ones.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """One for each kind of evidence, in the order of `CONTACT_EVIDENCE` or `ON_EVIDENCE` of `relation_evidence`."""

    evidence: tuple[float, ...]
    offset: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RelationWeights:
    """Of both predicates."""

    contacts: Weights
    on: Weights


OWN = RelationWeights(
    contacts=Weights(evidence=(-5.717, 0.771, -19.711, 0.444, -2.925, -1.686), offset=-0.265),
    on=Weights(evidence=(4.427, 0.930, -4.722, 1.486, 0.121, 1.176), offset=-3.308),
)
OUTSIDE = RelationWeights(
    contacts=Weights(evidence=(-3.110, 0.837, -20.075, 1.195, 0.461, -1.080), offset=-1.971),
    on=Weights(evidence=(8.736, 1.149, -4.145, 0.979, 0.435, 1.394), offset=-3.355),
)
