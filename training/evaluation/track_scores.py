"""HOTA, IDF1 and identity switches by TrackEval, over several streams."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from henasy_stream.errors import UserError
from henasy_stream.types import FloatArray
from training.evaluation.track_recording import Seen


@dataclass(frozen=True, kw_only=True)
class TrackScores:
    """hota and its parts det_a and ass_a are means over IoU thresholds 0.05 to 0.95; all others are at IoU 0.5.

    hota, det_a, ass_a, idf1, mota, recall, precision: 0..1 (mota may be negative).  switches: a thing goes on under
    another id, summed over the streams; identities: ids that were given.
    """

    hota: float
    det_a: float
    ass_a: float
    idf1: float
    switches: int
    mota: float
    recall: float
    precision: float
    identities: int

    def as_dict(self) -> dict[str, float]:
        """For JSON and tables."""
        return asdict(self)


def score_tracks(streams: Sequence[tuple[Sequence[Seen], Sequence[Seen]]]) -> TrackScores:
    """Scores (truth, tracks) of several streams together, as TrackEval combines sequences.

    Raises:
        UserError: TrackEval is not installed.
    """
    try:
        from trackeval.metrics import CLEAR, HOTA, Identity
    except ImportError:
        raise UserError("track scores need the package trackeval: pip install 'henasy-stream[tracking]'") from None
    data = [_sequence(truth, tracks) for truth, tracks in streams]
    results: list[Mapping[str, Any]] = []
    with contextlib.redirect_stdout(io.StringIO()):  # it reports its settings and times
        for metric in (HOTA(), CLEAR(), Identity()):
            each = {str(k): metric.eval_sequence(one) for k, one in enumerate(data)}
            results.append(metric.combine_sequences(each))
    hota, clear, identity = results
    return TrackScores(
        hota=float(np.mean(hota["HOTA"])),
        det_a=float(np.mean(hota["DetA"])),
        ass_a=float(np.mean(hota["AssA"])),
        idf1=float(identity["IDF1"]),
        switches=int(clear["IDSW"]),
        mota=float(clear["MOTA"]),
        recall=float(clear["CLR_Re"]),
        precision=float(clear["CLR_Pr"]),
        identities=sum(one["num_tracker_ids"] for one in data),
    )


def _sequence(truth: Sequence[Seen], tracks: Sequence[Seen]) -> dict[str, Any]:
    """What TrackEval's metrics read: ids counted from 0 and the IoU of every true and every tracked box."""
    true_ids, tracked_ids = (_compact(side) for side in (truth, tracks))
    return {
        "num_timesteps": len(truth),
        "num_gt_ids": len(np.unique(np.concatenate(true_ids))),
        "num_tracker_ids": len(np.unique(np.concatenate(tracked_ids))),
        "num_gt_dets": sum(map(len, true_ids)),
        "num_tracker_dets": sum(map(len, tracked_ids)),
        "gt_ids": true_ids,
        "tracker_ids": tracked_ids,
        "similarity_scores": [_ious(a.boxes, b.boxes) for a, b in zip(truth, tracks, strict=True)],
    }


def _compact(side: Sequence[Seen]) -> list[Any]:
    known = np.unique(np.concatenate([seen.ids for seen in side]))
    return [np.searchsorted(known, seen.ids) for seen in side]


def _ious(a: FloatArray, b: FloatArray) -> FloatArray:
    """(N, M) IoU of boxes."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(-1)
    first, second = ((box[:, 2:] - box[:, :2]).prod(-1) for box in (a, b))
    union = first[:, None] + second[None] - shared
    result: FloatArray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result
