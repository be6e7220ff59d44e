"""Runs the real loop over the source of faults, and judges what came of it."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import henasy_stream as hs
from benchmarks._soak.faults import FAULTS, Camera, Rig
from benchmarks._soak.measures import Check, Probe, Series, WatchedMonitor, series_checks, summary
from benchmarks._soak.readers import Reader
from benchmarks._soak.record import RollingRecord
from benchmarks._soak.source import FILM_FPS, FaultyNetwork, FaultySource, film
from henasy_stream.loading import Model
from henasy_stream.runtime.loop import Pace, run_loop
from henasy_stream.runtime.monitor import Heartbeat
from henasy_stream.runtime.outputs import Outputs, TopicCounter
from henasy_stream.runtime.stopping import StopOnSignal
from henasy_stream.sinks.builder import MessageBuilder
from henasy_stream.sinks.publisher import Publisher
from henasy_stream.sinks.zmq import ZmqSink
from henasy_stream.stream.engine import Engine

_CLOSING_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to: the bounds, and everything that was measured."""

    checks: list[Check]
    measured: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether all bounds hold."""
        return all(check.ok for check in self.checks)


def soak(steps: int, seed: int, weights: str = "demo") -> Outcome:
    """Runs until `steps` steps are done, faults by `seed`, or until Ctrl-C."""
    inner = hs.load(weights)
    network = FaultyNetwork(inner)
    model = Model(network, inner.spec)
    engine = Engine(model, hs.StreamConfig(), queries=["cup"])
    engine.warm_up()
    rig = Rig(
        camera=Camera(film=film(), film_fps=FILM_FPS),
        rng=np.random.default_rng(seed),
        fail_next=network.fail_next,
        ask=engine.set_queries,
    )
    source, counter, stop = FaultySource(rig), TopicCounter(), StopOnSignal()
    notes: list[str] = []
    process = psutil.Process()
    before = (process.num_fds(), process.num_threads())
    with tempfile.TemporaryDirectory() as folder, stop:
        series = Series(steps, Path(folder))
        monitor = WatchedMonitor(source, series)
        zmq, record = ZmqSink("tcp://127.0.0.1:0"), RollingRecord(Path(folder) / "record.jsonl")
        builder = MessageBuilder(engine.spec, engine.vocabulary, source=source.uri, masks=True)
        publisher = Publisher(builder, [zmq, record, counter])
        outputs = Outputs(notes.append)
        outputs.add("messages", publisher)
        outputs.add("probe", Probe(source, series))
        prompt, fickle = (Reader(kind, zmq.endpoint, seed) for kind in ("prompt", "fickle"))
        if not zmq.wait_subscribers(2, timeout_s=60):
            raise RuntimeError("the subscribers did not come")
        beats = Heartbeat(partial(_beat, publisher, monitor), notes.append)
        monitor.enter("RUNNING")
        started, cpu = time.monotonic(), time.process_time()
        while series.steps < steps and not stop.requested:
            # Failed steps don't count, and the loop counts frames.
            pace = Pace(max_frames=source.frames_in + steps - series.steps)
            run_loop(source, engine, outputs, monitor, stop, notes.append, pace)
            if series.steps < steps and stop.reason.endswith("frames came in"):
                stop.reason = ""
        seconds, cpu = time.monotonic() - started, time.process_time() - cpu
        beats.close()
        outputs.close()
        prompt_tally, fickle_tally = prompt.finish(), fickle.finish()
        after = _settled(process, before)
    checks = [
        Check(name="steps", found=f"{series.steps}", ok=series.steps == steps),
        Check(
            name="every failed step is a fault of the network's, and no output failed",
            found=f"{monitor.failed} failed, {network.failed.total()} made to; outputs: {dict(outputs.failures)}",
            ok=monitor.failed == network.failed.total() and not outputs.failures,
        ),
        Check(
            name="the record has every message of every topic in order",
            found=f"{record.holes} holes in {sum(record.counts.values())} lines",
            ok=not record.holes and record.counts == dict(counter.counts),
        ),
        _prompt_check(prompt_tally, dict(counter.counts), publisher.not_sent),
        Check(
            name="a fickle subscriber gets what it gets in order",
            found=f"{fickle_tally['received']}, missing {fickle_tally['missing']}, turns {fickle_tally['turns']}",
            ok=not fickle_tally["disorder"],
        ),
        Check(
            name="open files and threads are as many as before",
            found=f"{before} before, {after} after",
            ok=after == before,
        ),
        *series_checks(series),
    ]
    measured = {
        "steps": series.steps,
        "seed": seed,
        "weights": weights,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "stream_hours": round(rig.camera.time_ns / 3.6e12, 2),
        "faults": {name: source.faults[name] for name in FAULTS},
        "failed_steps": dict(network.failed),
        "messages": dict(counter.counts),
        "subscribers": {"prompt": prompt_tally, "fickle": fickle_tally},
        "notes": notes,
        **summary(series),
    }
    return Outcome(checks=checks, measured=measured)


def _beat(publisher: Publisher, monitor: WatchedMonitor) -> None:
    publisher.status(monitor.status())


def _prompt_check(tally: dict[str, Any], sent: dict[str, int], not_sent: int) -> Check:
    """Everything that was sent is there, or was counted as missing by who misses it."""
    missing = sum(tally["missing"].values())
    whole = all(
        tally["first"].get(topic) == 0 and tally["received"][topic] + tally["missing"].get(topic, 0) == count
        for topic, count in sent.items()
    )
    found = f"{sum(tally['received'].values())} of {sum(sent.values())}, {missing} missing, {not_sent} not sent"
    return Check(
        name="a prompt subscriber has every message, or counted it as missing",
        found=f"{found}, {tally['disorder']} out of order",
        ok=whole and not tally["disorder"] and not tally["malformed"] and tally["client_gaps"] == missing,
    )


def _settled(process: psutil.Process, expected: tuple[int, int]) -> tuple[int, int]:
    """Open files and threads, once they are as expected or the time is over: sockets close in the background."""
    until = time.monotonic() + _CLOSING_S
    while True:
        found = (process.num_fds(), process.num_threads())
        if found == expected or time.monotonic() > until:
            return found
        time.sleep(0.05)
