"""Streams of the world with what the node says of relations, the evidence behind it, and the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from henasy_stream.backends.base import Backend
from henasy_stream.config import StreamConfig
from henasy_stream.sources.world import HAND, WorldView
from henasy_stream.stream.association import associate
from henasy_stream.stream.engine import Engine
from henasy_stream.stream.relation_evidence import Pairs, Sight, contact_evidence, look
from henasy_stream.stream.relations import RelationBook
from henasy_stream.types import EntityBox, EntityBoxes, Frame, Relation
from training.evaluation.relation_extras import attention_evidence, motion_evidence
from training.evaluation.relation_truth import PairSet, true_relations
from training.evaluation.stream import RECALL_IOU, box_iou
from training.evaluation.track_recording import _Listening, steady

SIZE = 360
"""Side of the square pictures: the model sees all of them, so that its crop is not measured."""
_NO_CAPTIONS = ("nothing",)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RelationHop:
    """One hop.

    truth: (subject, object) by predicate, as indices of true things.  owner: the true thing that a track shows.
    sight: what the evidence is taken from.  evidence: of contact, of this hop alone, followed by that of attention and
    motion (`relation_extras`).  book: after the hop.  published: what the node says.
    """

    stamp_ns: int
    truth: dict[str, PairSet]
    owner: dict[int, int]
    sight: Sight
    evidence: Pairs
    book: RelationBook
    published: tuple[Relation, ...]


def record_relations(backend: Backend, view: WorldView, seconds: float, *, outside: bool = False) -> list[RelationHop]:
    """Runs the node over a stream, two frames a second.

    Args:
        backend: executes the network.
        view: the stream, square.
        seconds: its length.
        outside: entities are the true boxes instead of the network's own.
    """
    listening = _Listening(backend)
    engine = Engine(listening, StreamConfig(entities="outside" if outside else "own"), phrases=_NO_CAPTIONS)
    state = engine.initial_state()
    hops: list[RelationHop] = []
    for index, stamp in enumerate(steady(seconds).tolist()):
        true = true_relations(view.world, stamp / 1e9, view.size)
        seen = np.nonzero(np.isfinite(true.truth.boxes).all(1))[0].tolist()
        names = [
            HAND if hand else thing.noun for thing, hand in zip(true.truth.objects, true.truth.is_hand, strict=True)
        ]
        boxes = tuple(EntityBox(label=names[k], box_xyxy=tuple(true.truth.boxes[k].tolist())) for k in seen)
        frame = Frame(image=view.picture(index), stamp_ns=stamp, index=index, source=view.uri)
        given = (EntityBoxes(stamp_ns=stamp, boxes=boxes),) if outside else ()
        state, perception = engine.step(state, frame, given)
        if not perception.fresh or perception.masks is None:
            continue
        tracks = [track for track in perception.tracks if track.mask_index is not None]
        sight = look(perception.tracks, perception.masks)
        overlap = np.array([[box_iou(track.box_xyxy, box.box_xyxy) for box in boxes] for track in tracks])
        overlap = overlap.reshape(len(tracks), len(seen)).astype(np.float32)
        overlap *= sight.hand[:, None] == true.truth.is_hand[seen]
        owner = {tracks[i].id: seen[j] for i, j in zip(*associate(overlap, RECALL_IOU), strict=True)}
        contacts = contact_evidence(sight)
        if not outside and listening.last is not None:
            extra = [
                attention_evidence(sight, contacts, listening.last, perception.masks),
                motion_evidence(sight, contacts, state.books.tracks),
            ]
            contacts = replace(contacts, evidence=np.concatenate([contacts.evidence, *extra], 1))
        hops.append(
            RelationHop(
                stamp_ns=stamp,
                truth=true.pairs,
                owner=owner,
                sight=sight,
                evidence=contacts,
                book=state.books.relations,
                published=perception.relations,
            )
        )
    return hops
