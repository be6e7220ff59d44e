"""Do ids hold: our tracker beside simpler ones on hard streams of the synthetic world, and when frames go missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from henasy_stream.backends.base import Backend
from henasy_stream.config import StreamConfig
from henasy_stream.sources.world import world_from_uri
from henasy_stream.stream.entities import Detections
from henasy_stream.stream.sampler import Int64Array
from henasy_stream.stream.tracks import NEW, TRACKED, TrackBook, TrackRules, advance
from training.evaluation.track_baselines import bytetrack, hungarian, slot_index
from training.evaluation.track_recording import SIZE, Hop, Seen, dropped, record, steady
from training.evaluation.track_scores import score_tracks

CAMERA_FPS = 30.0
DROPS = (0.1, 0.3, 0.6)


def ours(hops: Sequence[Hop]) -> list[Seen]:
    """What the stream itself published."""
    return [hop.tracks for hop in hops]


TRACKERS: dict[str, Callable[[Sequence[Hop]], list[Seen]]] = {
    "ours": ours,
    "slot index": slot_index,
    "hungarian": hungarian,
    "bytetrack": bytetrack,
}


def replay(hops: Sequence[Hop], rules: TrackRules, shuffle: np.random.Generator | None = None) -> list[Seen]:
    """The tracker over kept detections, whose order it may be given shuffled as if the slots had changed places."""
    first = hops[0].detections
    book = TrackBook.empty(
        num_entities=max(len(hop.detections) for hop in hops),
        num_frames=len(hops[0].stamps),
        grid=first.masks.shape[-1],
        labels=first.labels.shape[1],
        width=first.embeddings.shape[1],
    )
    result = []
    for index, hop in enumerate(hops):
        found = hop.detections if shuffle is None else reorder(hop.detections, shuffle)
        book, _ = advance(book, found, hop.stamps, rules, first=index == 0)
        rows = book.rows(NEW, TRACKED)
        result.append(Seen(ids=book.ids[rows], boxes=book.boxes[rows].astype(np.float32)))
    return result


def reorder(found: Detections, rng: np.random.Generator) -> Detections:
    """The same detections as if the slots had changed places at random."""
    order = rng.permutation(len(found))
    places = rng.permutation(max(found.slots, default=0) + 1 + len(found))
    return Detections(
        masks=found.masks[order],
        embeddings=found.embeddings[order],
        labels=found.labels[order],
        presence=found.presence[order],
        boxes=found.boxes[order],
        slots=places[found.slots[order]],
    )


def cameras(seconds: float, seed: int) -> dict[str, Int64Array]:
    """Stamps of cameras with something wrong, by name."""
    whole = steady(seconds, fps=CAMERA_FPS)
    half = round(seconds / 2 * 1e9)
    slow = steady(seconds, fps=CAMERA_FPS / 3)
    named = {"30 frames a second": whole}
    named |= {f"{share:.0%} of them dropped": dropped(whole, share, seed) for share in DROPS}
    return named | {"10 instead from the middle on": np.concatenate([whole[whole < half], slow[slow >= half]])}


def score_tracking(
    backend: Backend, *, seeds: Sequence[int], seconds: float, troubled: int, config: StreamConfig | None = None
) -> dict[str, dict[str, float]]:
    """Scores by tracker, then ours by what is wrong with the camera.

    Args:
        backend: executes the network.
        seeds: of the streams.
        seconds: length of a stream.
        troubled: on how many of the streams the troubles of the camera are tried.
        config: of the stream.
    """
    config = config or StreamConfig()
    views = [world_from_uri(f"world?seed={seed}&size={SIZE}x{SIZE}&hard=1") for seed in seeds]
    streams = [record(backend, view, steady(seconds), config) for view in views]
    scores = {name: _score(streams, [tracker(hops) for hops in streams]) for name, tracker in TRACKERS.items()}
    rules = TrackRules(birth_hits=config.birth_hits, lost_s=config.lost_s)
    shuffled = [
        replay(hops, rules, np.random.default_rng([32, seed])) for seed, hops in zip(seeds, streams, strict=True)
    ]
    scores["ours, slots shuffled"] = _score(streams, shuffled)
    found: dict[str, list[list[Hop]]] = {}
    for seed, view in list(zip(seeds, views, strict=True))[:troubled]:
        for name, stamps in cameras(seconds, seed).items():
            found.setdefault(name, []).append(record(backend, view, stamps, config))
    return scores | {f"ours, {name}": _score(hops, [ours(one) for one in hops]) for name, hops in found.items()}


def _score(streams: Sequence[Sequence[Hop]], tracks: Sequence[Sequence[Seen]]) -> dict[str, float]:
    pairs = [([hop.truth for hop in hops], seen) for hops, seen in zip(streams, tracks, strict=True)]
    return score_tracks(pairs).as_dict()
