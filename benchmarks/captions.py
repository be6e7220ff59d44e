"""What a large caption bank costs a step, and what embedding it beside the stream does to a step."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import median
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch

from benchmarks import Result
from henasy_stream.backends.base import NetworkState
from henasy_stream.backends.torch_backend import TorchBackend
from henasy_stream.config import HenasyConfig
from henasy_stream.loading import load
from henasy_stream.model.lavila import DualEncoder
from henasy_stream.stream.captions import CaptionBook, PhraseBank, find_mentions
from henasy_stream.stream.filling import BATCH_S, Filling
from henasy_stream.stream.pairs import PairBank
from henasy_stream.stream.phrases import VerbNounPairs
from henasy_stream.stream.text_cache import TextCache
from henasy_stream.stream.texts import prepare_texts
from henasy_stream.stream.turns import BackgroundFilling, Turns
from henasy_stream.types import FloatArray, ModelSpec, NetworkOutput, UInt8Array

WIDTH = 256
PAIRS = VerbNounPairs(verbs=tuple(f"verb{i}" for i in range(97)), nouns=tuple(f"noun{i}" for i in range(300)))
"""As many as EPIC-KITCHENS-100 has."""
SMALL = tuple(f"phrase {i} noun{i}" for i in range(131))
"""As many as the everyday phrases."""
TURNS = 60
AIM_MS = 2.0
STEPS = 100
STEP_S = 0.01
PAUSE_S = 1 / 30 - STEP_S


class _Random:
    """Texts at random places, so that any bank can be made at once."""

    name = "random"
    spec = ModelSpec(
        model_id="random",
        image_size=8,
        num_frames=1,
        span_s=1.0,
        embed_dim=WIDTH,
        capabilities=frozenset({"caption", "entities"}),
        nouns=PAIRS.nouns,
    )

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        return _unit(np.random.default_rng(len(texts)).normal(size=(len(texts), WIDTH)))

    def run_window(self, clip: UInt8Array) -> NetworkOutput:
        raise NotImplementedError

    def initial_state(self) -> NetworkState:
        raise NotImplementedError

    def step(self, state: NetworkState, image: UInt8Array) -> tuple[NetworkState, NetworkOutput]:
        raise NotImplementedError


def run() -> Iterator[Result]:
    """Scores in seconds of the processor, so that other work on the machine counts little; waits by the clock."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _no_cache():
            yield from _steps()
            yield from _waits()
    finally:
        torch.set_num_threads(threads)


def _steps() -> Iterator[Result]:
    backend = _Random()
    pairs, small = prepare_texts(backend, PAIRS), prepare_texts(backend, SMALL)
    assert isinstance(pairs.bank, PairBank)
    labels = pairs.vocabulary.labels
    whole = PhraseBank(filling=pairs.bank.filling, mentions=find_mentions(PAIRS.texts, labels))
    steps = [_Step(bank, len(labels)) for bank in (small.bank, pairs.bank, whole)]
    times = np.array([[_cpu(step) for step in steps] for _ in range(TURNS)][2:]) * 1e3
    one, paired, naive = (median(column) for column in times.T)
    said = f"CPU time of 1 thread, width {WIDTH}, {len(labels)} labels, median of {len(times)} turns"
    yield Result(name=f"caption from {len(SMALL)} phrases", value=one, unit="ms", note=said)
    yield Result(name="caption from 97 × 300 pairs", value=paired, unit="ms", note=said)
    yield Result(name="the same as 29,100 phrases", value=naive, unit="ms", note=f"every pair scored; {said}")
    extra = median(times[:, 1] - times[:, 0])
    yield Result(name="what the pairs add to a step", value=extra, unit="ms", note=f"aim: at most {AIM_MS:g}")
    yield Result(name="every pair over pairs of the best", value=median(times[:, 2] / times[:, 1]), unit="×")


def _waits() -> Iterator[Result]:
    """The demo weights on 30 frames a second of which a window takes 10 ms, while EPIC's pairs are embedded."""
    backend = load("demo")
    filling, turns, waits = Filling(backend, TextCache(backend), PAIRS.texts), Turns(), []
    background = BackgroundFilling(filling, turns)
    started, before = time.perf_counter(), filling.done
    for _ in range(STEPS):
        asked = time.perf_counter()
        with turns.stream():
            waits.append(time.perf_counter() - asked)
            time.sleep(STEP_S)
        time.sleep(PAUSE_S)
    rate = (filling.done - before) / (time.perf_counter() - started)
    background.close()
    said = f"demo weights, {STEPS} steps of {STEP_S * 1e3:g} ms at 30 a second; a batch aims at {BATCH_S * 1e3:g} ms"
    for q in (50, 99):
        value = float(np.percentile(waits, q)) * 1e3
        yield Result(name=f"a step waits for the embedding, p{q}", value=value, unit="ms", note=said)
    yield Result(name="texts embedded meanwhile", value=rate, unit="1/s", note=said)
    base, small = HenasyConfig.base(), HenasyConfig.demo()
    config = dataclasses.replace(small, text=base.text, embed_dim=base.embed_dim)
    paper = TorchBackend(DualEncoder(config.vision, config.text, config.embed_dim), config, "bench", "cpu")
    for count in (1, 8):
        texts = PAIRS.texts[:count]
        value = median(_cpu(partial(paper.embed_texts, texts)) for _ in range(7)) * 1e3
        said = "text encoder at paper size, CPU time of 1 thread"
        yield Result(name=f"batch of {count}", value=value, unit="ms", note=said)


class _Step:
    """All that a window costs because of its caption."""

    def __init__(self, bank: PhraseBank | PairBank, labels: int) -> None:
        self._bank, self._book, self._stamp_ns = bank, CaptionBook.empty(len(bank.texts)), 0
        self._rng = np.random.default_rng(1)
        self._labels = labels

    def __call__(self) -> None:
        video = _unit(self._rng.normal(size=WIDTH))
        grounded = self._rng.random(self._labels).astype(np.float32)
        self._stamp_ns += 10**9 // 2
        scored = self._bank.log_probabilities(video, 0.05, grounded)
        self._book, _ = self._book.update(
            scored, self._bank.texts, window_start_ns=0, stamp_ns=self._stamp_ns, hold_s=1.0
        )
        self._book.caption(self._bank.texts)


def _cpu(work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started


def _unit(rows: npt.NDArray[np.float64]) -> FloatArray:
    result: FloatArray = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
    return result


@contextmanager
def _no_cache() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict("os.environ", {"HENASY_CACHE": folder}):
        yield
