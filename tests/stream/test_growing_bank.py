"""A stream whose caption bank is still being embedded."""

from __future__ import annotations

import time

import numpy as np

from henasy_stream.config import StreamConfig
from henasy_stream.stream.engine import Engine
from henasy_stream.stream.phrases import VerbNounPairs
from henasy_stream.stream.state import StreamState
from tests.stream.fake import NOUNS, PHRASES, VERBS, FakeBackend, Square, film

SCENE = (Square("cup", 10, 10, vx=60), Square("knife", 180, 160))
MANY = (*(f"does thing number {i}" for i in range(10_000)), *PHRASES)
PAIRS = VerbNounPairs(
    verbs=(*(f"{verb} the {{}}" for verb in VERBS), *(f"verb{i}" for i in range(94))),
    nouns=(*NOUNS, *(f"noun{i}" for i in range(296))),
)


class Slow(FakeBackend):
    """A text takes 0.2 ms, so that 10,000 take two seconds."""

    def embed_texts(self, texts):
        time.sleep(2e-4 * len(texts))
        return super().embed_texts(texts)


def run(engine, frames, state=None):
    state, results = state or engine.initial_state(), []
    for frame in frames:
        state, perception = engine.step(state, frame)
        results.append(perception)
    return state, results


def test_the_stream_starts_at_once_and_the_bank_comes_in(tmp_path):
    engine = Engine(Slow(), StreamConfig(), phrases=MANY, background=True)
    assert len(engine.phrases) == len(MANY)
    state, results = run(engine, film(SCENE, 1))
    assert results[0].caption is not None
    assert "of 10012 phrases" in (results[0].notice or "")
    state.save(tmp_path / "early.npz")
    end, start_s = time.monotonic() + 60, 1.0
    while results[-1].notice:
        assert time.monotonic() < end
        frames = [f for f in film(SCENE, start_s + 1) if f.stamp_ns >= start_s * 1e9]
        state, results = run(engine, frames, state)
        start_s += 1
    engine.close()
    whole = Engine(FakeBackend(), StreamConfig(), phrases=MANY)
    _, early = run(whole, film(SCENE, 2)[20:], StreamState.load(tmp_path / "early.npz"))
    assert all(p.caption is not None for p in early)  # a state goes on with a bank that has grown
    _, expected = run(whole, film(SCENE, 3))
    assert expected[-1].caption.text == "moves right the cup"
    assert expected[-1].notice is None


def test_epics_pairs_need_no_waiting():
    backend = Slow()
    engine = Engine(backend, StreamConfig(), phrases=PAIRS, background=True)
    assert backend.texts < 1500  # words and the first pairs of 29,100
    _, results = run(engine, film(SCENE, 3))
    engine.close()
    caption = results[-1].caption
    assert caption.text == "moves right the cup"
    cups = [t.id for t in results[-1].tracks if t.label == "cup"]
    assert set(caption.track_ids) == set(cups)


def test_what_a_stream_left_is_not_embedded_again():
    backend = Slow()
    engine = Engine(backend, StreamConfig(), phrases=MANY, background=True)
    run(engine, film(SCENE, 0.2))
    engine.close()
    again = Slow()
    Engine(again, StreamConfig(), phrases=MANY)
    words = len(NOUNS) + 2 + 1  # a hand, the background, and the probe that is never kept
    assert backend.texts > words
    assert again.texts == 1 + len(MANY) - (backend.texts - words)


def test_a_large_bank_slows_no_step():
    """Generous: the aim is 2 ms; 20 ms would be what looking at all pairs takes on a slow machine."""

    def cheapest(phrases):
        engine = Engine(FakeBackend(), StreamConfig(), phrases=phrases)
        state, costs = engine.initial_state(), []
        for frame in film(SCENE, 3):
            state, perception = engine.step(state, frame)
            if perception.fresh:
                costs.append(engine.timings["perception"])
        return np.quantile(costs, 0.2)

    assert cheapest(PAIRS) - cheapest(PHRASES) < 0.015
