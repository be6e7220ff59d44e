"""What the benchmarks measure with."""

from __future__ import annotations

import time

import numpy as np

import henasy_stream as hs
from benchmarks._camera import BUFFERS, FPS, PacedCamera, jpegs
from benchmarks._stub import Replay, crowd
from henasy_stream.loading import Model
from henasy_stream.types import Frame


def test_a_paced_camera_waits_for_the_next_picture_and_keeps_four_while_nobody_looks():
    camera = PacedCamera(jpegs([np.full((48, 64, 3), grey, np.uint8) for grey in range(0, 250, 10)]))
    started = time.monotonic_ns()
    stamps = []
    for _ in range(4):
        found, image = camera.read()
        assert found
        assert image.shape == (48, 64, 3)
        assert camera.stamp_ns <= time.monotonic_ns()
        stamps.append(camera.stamp_ns)
    assert time.monotonic_ns() - started > 3e9 / FPS
    assert np.diff(stamps).min() > 0
    time.sleep(20 / FPS)  # pictures that nobody takes
    waiting: list[int] = []
    while not waiting or time.monotonic_ns() - waiting[-1] > 2e9 / FPS:
        camera.grab()
        waiting.append(camera.stamp_ns)
    assert len(waiting) >= BUFFERS
    assert np.diff(waiting).max() > 3e9 / FPS


def test_every_thing_of_a_crowd_becomes_a_track():
    model = hs.load("demo")
    spec, outputs = crowd(model, 16, 4)
    assert outputs[0].entity_probability is not None
    np.testing.assert_allclose(outputs[0].entity_probability.sum(-1), 1, atol=1e-5)
    engine = hs.Engine(Model(Replay(model, spec, outputs), spec), hs.StreamConfig())
    state = engine.initial_state()
    image = np.random.default_rng(0).integers(0, 256, (spec.image_size, spec.image_size, 3), np.uint8)
    for hop in range(4):
        frame = Frame(image=image, stamp_ns=hop * 500_000_000, index=hop, source="crowd")
        state, perception = engine.step(state, frame)
    assert len({track.id for track in perception.tracks}) == 16
    assert {track.state for track in perception.tracks} == {"tracked"}
