from __future__ import annotations

import gc
import re
import threading
import time

import numpy as np
import pytest

from henasy_stream.stream.filling import Filling
from henasy_stream.stream.text_cache import TextCache
from henasy_stream.stream.turns import BackgroundFilling, Turns
from tests.stream.fake import FakeBackend

TEXTS = [f"does thing {i}" for i in range(300)]


class Exclusive(FakeBackend):
    """Notices when two threads use it at the same time; a batch takes so many seconds."""

    def __init__(self, batch_s=0.0):
        super().__init__()
        self.batch_s, self.inside, self.overlaps = batch_s, 0, 0

    def use(self, seconds):
        self.inside += 1
        self.overlaps += self.inside > 1
        time.sleep(seconds)
        self.inside -= 1

    def embed_texts(self, texts):
        self.use(self.batch_s)
        return super().embed_texts(texts)


def filling_of(backend, texts=TEXTS):
    return Filling(backend, TextCache(backend), texts)


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_the_bank_fills_while_the_stream_runs():
    backend = Exclusive(0.002)
    filling = filling_of(backend)
    turns = Turns()
    background = BackgroundFilling(filling, turns)
    steps = 0
    while not filling.complete:
        with turns.stream():
            backend.use(0.001)
        steps += 1
        assert steps < 10_000
    assert steps > 1
    assert backend.overlaps == 0
    np.testing.assert_array_equal(filling.embeddings, filling_of(FakeBackend()).run())
    background.close()


def test_the_stream_waits_for_one_batch_at_most():
    """A stream that never pauses has every second turn while the bank fills, and no two batches lie between steps."""
    turns, order, stop = Turns(), [], threading.Event()

    def work():
        while not stop.is_set():
            with turns.worker() as going_on:
                if not going_on:
                    return
                order.append("batch")
                time.sleep(0.002)

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(60):
        order.append("asks")
        with turns.stream():
            order.append("step")
            time.sleep(0.002)
    stop.set()
    turns.close()
    thread.join(20)
    assert not thread.is_alive()
    waits = [part.count("b") for part in re.findall("a(b*)s", "".join(word[0] for word in order))]
    assert len(waits) == 60
    # The batch that began last may have done so between asking and being heard; a busy machine may add to that.
    assert sum(wait <= 1 for wait in waits) >= 50
    assert order.count("batch") > 10


def test_close_ends_a_batch_later_and_keeps_what_is_done():
    backend = Exclusive(0.05)
    filling = filling_of(backend)
    turns = Turns()
    background = BackgroundFilling(filling, turns)
    wait_for(lambda: filling.done > 2)
    started = time.monotonic()
    background.close()
    assert time.monotonic() - started < 10
    done = filling.done
    assert 0 < done < len(TEXTS)
    assert filling_of(FakeBackend()).done == done
    with turns.stream():  # nobody waits for a worker that is gone
        pass
    background.close()


def test_a_stream_that_is_given_up_takes_its_thread_along():
    backend = Exclusive(0.01)
    background = BackgroundFilling(filling_of(backend, [f"{i}" for i in range(100_000)]), Turns())
    names = lambda: [t.name for t in threading.enumerate()]  # noqa: E731
    assert "embed phrases" in names()
    del background
    gc.collect()
    wait_for(lambda: "embed phrases" not in names())


def test_a_failure_is_told_and_the_stream_goes_on():
    class Failing(FakeBackend):
        def embed_texts(self, texts):
            if self.texts > 40:
                raise RuntimeError("out of memory")
            return super().embed_texts(texts)

    turns, filling = Turns(), filling_of(Failing())
    assert "until the rest is embedded" in filling.remark()
    background = BackgroundFilling(filling, turns)
    wait_for(lambda: filling.problem is not None)
    assert f"{filling.done} of 300 phrases: embedding failed (RuntimeError: out of memory)" in filling.remark()
    with turns.stream():
        pass
    background.close()


@pytest.mark.parametrize("batch_s", [0.0, 0.03])
def test_batches_take_less_than_a_frame(batch_s):
    """The size follows the time of a text: one text where that alone takes longer."""

    class Slow(FakeBackend):
        def embed_texts(self, texts):
            time.sleep(batch_s * len(texts))
            sizes.append(len(texts))
            return super().embed_texts(texts)

    sizes: list[int] = []
    filling_of(Slow(), TEXTS[:30]).run()
    if batch_s:
        assert sizes == [1] * 31  # the probe as well
    else:
        assert max(sizes) > 4
