"""Streams of the world as the node samples them: what the network said, what the tracker made of it, and the truth.

The network runs once a stream; whatever continues its entities in another way is replayed over the kept outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from henasy_stream.backends.base import Backend, NetworkState
from henasy_stream.config import StreamConfig
from henasy_stream.preprocess import View
from henasy_stream.sources.world import WorldView
from henasy_stream.stream.engine import Engine
from henasy_stream.stream.entities import Detections, detect
from henasy_stream.stream.sampler import Int64Array, Sampler, SampleRing
from henasy_stream.stream.texts import prepare_texts
from henasy_stream.types import FloatArray, Frame, ModelSpec, NetworkOutput, UInt8Array

SIZE = 360
"""Side of the square pictures: the model sees all of them, so that its crop is not measured."""
_NO_CAPTIONS = ("nothing",)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Seen:
    """What one tracker says at one stamp, or the truth: ids (N,) and boxes (N, 4) in source pixels."""

    ids: Int64Array
    boxes: FloatArray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Hop:
    """One window.  stamps: (T,) of the samples.  video: (D,), its embedding."""

    stamps: Int64Array
    video: FloatArray
    detections: Detections
    truth: Seen
    tracks: Seen


class _Listening:
    """A backend that keeps its last answer."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.name, self.spec = inner.name, inner.spec
        self.last: NetworkOutput | None = None

    def initial_state(self) -> NetworkState:
        return self._inner.initial_state()

    def step(self, state: NetworkState, image: UInt8Array) -> tuple[NetworkState, NetworkOutput]:
        state, self.last = self._inner.step(state, image)
        return state, self.last

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        return self._inner.embed_texts(texts)

    def run_window(self, clip: UInt8Array) -> NetworkOutput:
        self.last = self._inner.run_window(clip)
        return self.last


def steady(seconds: float, *, fps: float = 2.0) -> Int64Array:
    """Stamps of a camera that never fails.  At 2 frames a second these are the frames that the demo model samples."""
    return np.round(np.arange(round(seconds * fps)) * 1e9 / fps).astype(np.int64)


def dropped(stamps: Int64Array, share: float, seed: int) -> Int64Array:
    """The stamps less a random share of them; the first one stays."""
    kept = np.random.default_rng([31, seed]).random(len(stamps)) >= share
    kept[0] = True
    return stamps[kept]


def sampled(stamps: Int64Array, spec: ModelSpec, config: StreamConfig) -> Int64Array:
    """Those of a camera's stamps that the stream takes as samples."""
    sampler = Sampler.plan(spec.num_frames, spec.span_s, config.gap_s)
    ring, taken = SampleRing.empty(spec.num_frames, 1), []
    pixel = np.zeros((1, 1, 3), np.uint8)
    for stamp in stamps.tolist():
        ring, wanted = sampler.observe(ring, stamp)
        if wanted:
            ring = sampler.push(ring, pixel, stamp)
            taken.append(stamp)
    return np.array(taken, np.int64)


def record(
    backend: Backend,
    view: WorldView,
    stamps: Int64Array,
    config: StreamConfig,
) -> list[Hop]:
    """Runs the stream over the frames of `view` at `stamps`, a window a sample.

    Args:
        backend: executes the network.
        view: the stream, square.
        stamps: of the frames, in nanoseconds.
        config: of the stream.
    """
    listening, spec = _Listening(backend), backend.spec
    engine = Engine(listening, config, phrases=_NO_CAPTIONS)
    vocabulary, state = prepare_texts(backend, _NO_CAPTIONS).vocabulary, engine.initial_state()
    seen = View.plan(*view.size, spec.image_size, spec.resize, config.rotate)
    taken = set(sampled(stamps, spec, config).tolist())
    image = np.zeros((*view.size, 3), np.uint8)
    hops: list[Hop] = []
    for index, stamp in enumerate(stamps.tolist()):
        if stamp in taken:  # the others are never looked at
            image = view.world.render(stamp / 1e9, view.upright_size)[0]
        frame = Frame(
            image=image, stamp_ns=stamp, index=index, source=view.uri, clock="media", stamp_source="synthetic"
        )
        state, perception = engine.step(state, frame)
        if not perception.fresh or listening.last is None:
            continue
        output = listening.last
        detections = detect(output, vocabulary, seen, config.presence)
        live = [t for t in perception.tracks if t.state in ("new", "tracked")]
        hops.append(
            Hop(
                stamps=state.ring.window()[1][-detections.masks.shape[1] :],
                video=output.video_embedding,
                detections=detections,
                truth=_truth(view, stamp),
                tracks=Seen(ids=np.array([t.id for t in live], np.int64), boxes=_boxes([t.box_xyxy for t in live])),
            )
        )
    return hops


def _truth(view: WorldView, stamp_ns: int) -> Seen:
    truth = view.truth(stamp_ns)
    visible = np.isfinite(truth.boxes).all(1)
    ids = np.array([o.track for o in truth.objects], np.int64)
    return Seen(ids=ids[visible], boxes=truth.boxes[visible])


def _boxes(rows: Sequence[tuple[float, float, float, float]]) -> FloatArray:
    return np.array(rows, np.float32).reshape(-1, 4)
