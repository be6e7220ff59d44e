"""Other ways to give the entities of neighbouring windows their identity, all from the same detections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from henasy_stream.errors import UserError
from henasy_stream.stream.association import associate, shared_mask_iou
from henasy_stream.stream.entities import soft_iou
from henasy_stream.stream.parts import MOST_PARTS
from training.evaluation.track_recording import Hop, Seen

LEAST_IOU = 0.2
"""Below this overlap of masks `hungarian` starts a new identity."""


def slot_index(hops: Sequence[Hop]) -> list[Seen]:
    """The slot's number is the identity; of two parts of a slot the second one, the smaller, has its own."""
    result = []
    for hop in hops:
        slots = hop.detections.slots
        again = np.array([int((slots[:k] == slot).sum()) for k, slot in enumerate(slots)], np.int64)
        result.append(Seen(ids=MOST_PARTS * slots + again, boxes=hop.detections.boxes.astype(np.float32)))
    return result


def hungarian(hops: Sequence[Hop]) -> list[Seen]:
    """Assignment of each window's masks to those of the window before, on the frames that both show, and no memory.

    Where they share no frame the newest masks are compared.
    """
    result: list[Seen] = []
    last: Hop | None = None
    next_id = 1
    for hop in hops:
        ids = np.zeros(len(hop.detections), np.int64)
        if last is not None and len(last.detections) and len(ids):
            stamps = np.repeat(last.stamps[None], len(last.detections), 0)
            overlap = shared_mask_iou(last.detections.masks, stamps, hop.detections.masks, hop.stamps)
            if not np.isin(last.stamps, hop.stamps).any():  # causal weights: masks of one frame each
                overlap = soft_iou(last.detections.masks[:, -1] ** 2, hop.detections.masks[:, -1] ** 2)
            rows, columns = associate(overlap, LEAST_IOU)
            ids[columns] = result[-1].ids[rows]
        for k in np.flatnonzero(ids == 0):
            ids[k], next_id = next_id, next_id + 1
        result.append(Seen(ids=ids, boxes=hop.detections.boxes.astype(np.float32)))
        last = hop
    return result


def bytetrack(hops: Sequence[Hop]) -> list[Seen]:
    """ByteTrack as the package `trackers` has it, on the boxes and presences of the detections.

    Told that two boxes a second come; a lost track is kept for 2 s and a thing is named at once.

    Raises:
        UserError: the package is not installed.
    """
    try:
        import supervision
        from trackers import ByteTrackTracker
    except ImportError:
        raise UserError("ByteTrack needs the package trackers: pip install 'henasy-stream[tracking]'") from None
    tracker = ByteTrackTracker(
        frame_rate=2.0,
        lost_track_buffer=60,  # in thirtieths of a second
        track_activation_threshold=0.5,
        minimum_consecutive_frames=1,
    )
    result = []
    for hop in hops:
        boxes = hop.detections.boxes.astype(np.float32)
        tracked = tracker.update(supervision.Detections(xyxy=boxes, confidence=hop.detections.presence))
        ids = np.asarray(tracked.tracker_id, np.int64)
        result.append(Seen(ids=ids[ids >= 0], boxes=np.asarray(tracked.xyxy, np.float32)[ids >= 0]))
    return result
