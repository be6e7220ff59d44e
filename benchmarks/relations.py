"""What relations take: the decoder's attention on its way out of the network, and the relations of a hop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from unittest.mock import patch

import numpy as np
from torch import Tensor

import henasy_stream as hs
from benchmarks import Result
from henasy_stream.model import entity_decoder
from henasy_stream.model.attention import CrossAttention
from henasy_stream.stream.relation_evidence import look
from henasy_stream.stream.relation_weights import OWN
from henasy_stream.stream.relations import RelationBook, relate
from henasy_stream.types import Masks, Track, UInt8Array

WINDOWS, HOPS = 150, 200
CROWDS = ((2, 6, 20), (4, 60, 48))
"""Hands, things, cells along a side of the masks."""


def run() -> Iterator[Result]:
    """CPU time of a thread, since other work on the machine would count else; with and without in turns."""
    backend = hs.load("demo", backend="torch")
    size = (backend.spec.num_frames, backend.spec.image_size, backend.spec.image_size, 3)
    rng = np.random.default_rng(0)
    took = {True: list[float](), False: list[float]()}
    for _ in range(WINDOWS):
        for attention in took:  # each time other pictures: what two windows share is not computed twice
            took[attention].append(_window(backend, rng.integers(0, 256, size, np.uint8), attention))
    whole, less = (float(np.median(took[attention][10:])) for attention in (True, False))
    yield Result(
        name="window with attention against without", value=whole / less, unit="×", note=f"{1e3 * whole:.1f} ms"
    )
    for hands, things, grid in CROWDS:
        yield Result(name=f"relations of {hands} hands and {things} things", value=_hop(hands, things, grid), unit="ms")


def _window(backend: hs.Model, clip: UInt8Array, attention: bool) -> float:
    def plain(layer: CrossAttention, q: Tensor, kv: Tensor, _: int) -> tuple[Tensor, None]:
        return layer(q, kv), None

    if attention:
        started = time.thread_time()
        backend.run_window(clip)
        return time.thread_time() - started
    with patch.object(CrossAttention, "looking", plain), patch.object(entity_decoder, "mean_looks", lambda _: None):
        return _window(backend, clip, True)


def _hop(hands: int, things: int, grid: int) -> float:
    """Median milliseconds of reading the relations of one hop."""
    rng = np.random.default_rng(1)
    count = hands + things
    low = rng.uniform(0, 70, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(10, 30, (count, 2))], 1)
    tracks = tuple(
        Track(
            id=k + 1,
            label="hand" if k < hands else "cup",
            label_index=0,
            label_score=1.0,
            score=1.0,
            state="tracked",
            box_xyxy=tuple(boxes[k].tolist()),
            mask_index=k + 1,
            first_seen_ns=0,
            last_seen_ns=0,
        )
        for k in range(count)
    )
    soft = rng.random((count, grid, grid), np.float32)
    masks = Masks(probability=soft, to_source=np.array([[100 / grid, 0, 0], [0, 100 / grid, 0]]))
    book, took = RelationBook.empty(), list[float]()
    for hop in range(HOPS):
        started = time.thread_time()
        book, _ = relate(book, look(tracks, masks), OWN, hop * 500_000_000)
        took.append(time.thread_time() - started)
    return 1e3 * float(np.median(took))
