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
    contacts=Weights(evidence=(-4.409, 1.253, -18.314, 0.148, -1.759, -0.769), offset=0.415),
    on=Weights(evidence=(4.529, 2.465, -5.948, 1.224, 0.244, 0.801), offset=-3.141),
)
OUTSIDE = RelationWeights(
    contacts=Weights(evidence=(-3.133, 0.822, -19.546, 1.220, 0.430, -1.052), offset=-1.936),
    on=Weights(evidence=(8.705, 1.248, -4.242, 0.960, 0.463, 1.382), offset=-3.347),
)
