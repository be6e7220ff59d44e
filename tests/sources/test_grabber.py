from __future__ import annotations

import threading
import time

import pytest

from henasy_stream.sources.grabber import Grabber, Slot


def test_the_newest_item_wins_and_the_others_are_counted():
    slot: Slot[int] = Slot()
    for i in range(5):
        slot.put(i)
    assert slot.take(0) == 4
    assert slot.dropped == 4
    assert slot.take(0) is None


def test_taken_items_are_not_dropped():
    slot: Slot[int] = Slot()
    for i in range(5):
        slot.put(i)
        assert slot.take(0) == i
    assert slot.dropped == 0


def test_what_must_not_be_lost_is_carried_over():
    slot: Slot[str] = Slot(carry=lambda old, new: old + new)
    for letter in "abc":
        slot.put(letter)
    assert slot.take(0) == "abc"


def test_take_waits_for_an_item_and_no_longer():
    slot: Slot[int] = Slot()
    threading.Timer(0.05, slot.put, (7,)).start()
    started = time.monotonic()
    assert slot.take(5.0) == 7
    assert slot.take(0.05) is None
    assert 0.05 <= time.monotonic() - started < 2.0


def test_no_item_is_lost_or_seen_twice_between_two_threads():
    slot: Slot[int] = Slot()

    def work(grabber):
        for i in range(5000):
            slot.put(i)

    grabber = Grabber(work, "henasy-test")
    seen: list[int] = []
    while grabber.running or (seen and seen[-1] != 4999) or not seen:
        item = slot.take(0.01)
        if item is not None:
            seen.append(item)
    assert seen == sorted(set(seen))
    assert len(seen) + slot.dropped == 5000


def test_stop_ends_work_that_looks_and_work_that_sleeps():
    def work(grabber):
        while not grabber.stopping:
            grabber.wait(60.0)

    grabber = Grabber(work, "henasy-test")
    assert not grabber.hangs
    started = time.monotonic()
    assert grabber.stop()
    assert time.monotonic() - started < 0.5
    assert not grabber.hangs


def test_stop_gives_up_on_work_that_hangs():
    release = threading.Event()

    def work(grabber):
        release.wait()

    grabber = Grabber(work, "henasy-test")
    started = time.monotonic()
    assert not grabber.stop(0.2)
    assert time.monotonic() - started < 0.9
    assert grabber.running
    release.set()
    assert grabber.stop()


def test_work_that_exceeds_its_allowance_hangs():
    release = threading.Event()

    def work(grabber):
        grabber.alive(0.05)
        release.wait()

    grabber = Grabber(work, "henasy-test")
    time.sleep(0.15)
    assert grabber.hangs
    release.set()
    grabber.stop()


def test_a_watcher_that_was_away_itself_does_not_blame_the_work():
    release = threading.Event()

    def work(grabber):
        grabber.alive(0.2)
        release.wait()

    grabber = Grabber(work, "henasy-test")
    time.sleep(0.3)
    grabber.excuse(60.0)
    assert not grabber.hangs
    time.sleep(0.3)
    assert grabber.hangs
    release.set()
    grabber.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_work_that_dies_counts_as_hanging():
    def work(grabber):
        raise RuntimeError("a driver's surprise")

    grabber = Grabber(work, "henasy-test")
    deadline = time.monotonic() + 2
    while not grabber.hangs:
        assert time.monotonic() < deadline
        time.sleep(0.01)
