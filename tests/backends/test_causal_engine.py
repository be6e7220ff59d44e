"""Causal weights under the engine: what it shows them, what they remember, and when that starts afresh."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from henasy_stream.backends.torch_backend import TorchBackend
from henasy_stream.config import StreamConfig
from henasy_stream.errors import UserError
from henasy_stream.loading import load
from henasy_stream.stream import engine as engine_module
from henasy_stream.stream.engine import Engine
from henasy_stream.stream.state import StreamState
from henasy_stream.types import Frame, NetworkOutput, SavedNetworkState
from tests.stream.causal_weights import CONFIG, PERIOD_S, causal_network, noise, write_weights
from tests.stream.fake import SECOND, FakeBackend, Square, film, paint
from tests.stream.test_state import story

SCENE = (Square("cup", 10, 10, vx=25), Square("knife", 180, 60, vx=-20))
PHRASES = ["a", "b"]


class Listening(TorchBackend):
    """Keeps the pictures that it was shown and what it said."""

    def __init__(self) -> None:
        super().__init__(causal_network(), CONFIG, "tiny-causal", "cpu")
        self.shown: list[np.ndarray] = []
        self.said: list[NetworkOutput] = []

    def step(self, state, image):
        state, output = super().step(state, image)
        self.shown.append(image.copy())
        self.said.append(output)
        return state, output


def run(engine, frames, state=None):
    state = engine.initial_state() if state is None else state
    results = []
    for frame in frames:
        state, perception = engine.step(state, frame)
        results.append(perception)
    return state, results


def sampled(frames):
    """The frame nearest to each point of the grid, the plain way, up to the last point that a frame stands on."""
    stamps = np.array([frame.stamp_ns for frame in frames]) - frames[0].stamp_ns
    points = np.arange(round(stamps[-1] / 1e9 / PERIOD_S) + 1) * PERIOD_S * 1e9
    return [frames[int(np.abs(stamps - point).argmin())] for point in points]


def in_one_piece(frames):
    """What the network says of all these pictures when it is run over them at once."""
    backend = TorchBackend(causal_network(), CONFIG, "tiny-causal", "cpu")
    video = backend._normalise(np.stack([frame.image for frame in frames]))
    with torch.no_grad():
        out = causal_network().unrolled(video)
    unit = torch.nn.functional.normalize
    return unit(out.video[0], dim=-1).numpy(), unit(out.entities[0], dim=-1).numpy(), out.probability[0].numpy()


def assert_says(said, frames):
    videos, entities, probability = in_one_piece(frames)
    assert len(said) == len(frames)
    for index, output in enumerate(said):
        np.testing.assert_allclose(output.video_embedding, videos[index], atol=1e-5)
        np.testing.assert_allclose(output.entity_embeddings, entities[index], atol=1e-5)
        np.testing.assert_allclose(output.entity_probability.reshape(4, 3), probability[index], atol=1e-5)


@pytest.mark.parametrize(("fps", "live"), [(10, False), (30, False), (30, True), (24, True)])
def test_a_stream_is_a_plain_loop_over_its_samples(fps, live):
    backend = Listening()
    frames = noise(1.5, fps)
    if live:
        frames = [replace(frame, stamp_source="receive", clock="monotonic") for frame in frames]
    _, results = run(Engine(backend, StreamConfig(), phrases=PHRASES), frames)
    assert sum(p.fresh for p in results) == len(backend.said)  # once a sample, never a call
    assert_says(backend.said, [p.frame for p in results if p.fresh])
    assert [p.frame for p in results if p.fresh] == sampled(frames)[: len(backend.said)]
    for perception in [p for p in results if p.fresh][2:]:  # three samples, 0.1 s apart
        assert abs(perception.stamp_ns - perception.window_start_ns - 0.2e9) <= 1e9 / fps


def test_missed_points_are_filled_with_their_neighbours():
    frames = [frame for frame in noise(2.0, 10) if frame.index not in (3, 4, 8, 15)]
    backend = Listening()
    _, results = run(Engine(backend, StreamConfig(), phrases=PHRASES), frames)
    shown = [next(frame for frame in frames if (frame.image == image).all()) for image in backend.shown]
    assert [frame.index for frame in shown] == [0, 1, 2, 2, 5, 5, 6, 7, 9, 9, 10, 11, 12, 13, 14, 16, 16, 17, 18, 19]
    assert_says(backend.said, shown)
    assert not any(p.reset or p.notice for p in results)


def test_a_pause_longer_than_the_memory_starts_it_afresh_and_tracks_go_on():
    frames = [frame for frame in film(SCENE, 4) if not 1.5 < frame.stamp_ns / SECOND < 2.5]
    _, results = run(Engine(FakeBackend(attention="causal"), StreamConfig()), frames)
    told = [p for p in results if p.notice]
    assert told[0].stamp_ns == pytest.approx(2.5 * SECOND, abs=0.06 * SECOND)
    assert "4 samples are missing: the network's memory of 4 starts afresh" in told[0].notice
    assert told[0].window_start_ns == told[0].window_end_ns == told[0].stamp_ns
    assert all(track.score <= 0.25 for track in told[0].tracks)  # it says how little it has seen
    assert {t.id for p in results for t in p.tracks} == {1, 2}
    assert results[-1].notice is None


class Slow(FakeBackend):
    def __init__(self, clock, seconds):
        super().__init__(attention="causal")
        self.clock, self.seconds, self.steps = clock, seconds, 0

    def step(self, state, image):
        self.clock[0] += self.seconds
        self.steps += 1
        return super().step(state, image)


def live_stream(monkeypatch, seconds, until=12.0):
    """A camera at 50 frames a second before a network that takes so long: perceptions, steps, and the results' ages."""
    clock = [0.0]
    monkeypatch.setattr(engine_module, "perf_counter", lambda: clock[0])
    backend = Slow(clock, seconds)
    engine = Engine(backend, StreamConfig(gap_s=10))  # p = 0.2 s, T = 4
    state, now, results, ages = engine.initial_state(), 0.0, [], []
    while now < until:
        frame = replace(paint(SCENE, now), stamp_source="receive", clock="monotonic")
        state, perception = engine.step(state, frame)
        spent = engine.timings.get("network", 0.0)
        results.append(perception)
        ages += [spent] * perception.fresh
        now += max(0.02, np.ceil(spent / 0.02) * 0.02)
    return results, backend.steps, ages


@pytest.mark.parametrize("seconds", [0.01, 0.15])
def test_a_model_that_keeps_pace_sees_every_point(monkeypatch, seconds):
    results, steps, ages = live_stream(monkeypatch, seconds)
    assert steps == pytest.approx(12 / 0.2, abs=2)
    assert not any(p.notice for p in results)
    assert max(ages) <= 2 * seconds + 0.2


def test_a_model_that_does_not_keep_pace_starts_afresh_and_says_so(monkeypatch):
    results, steps, ages = live_stream(monkeypatch, 0.5)
    fresh = [p for p in results if p.fresh]
    assert steps <= len(fresh) + 1  # nothing is filled, which would put it further behind
    assert "longer than the 0.20 s between two samples" in fresh[5].notice
    assert max(ages[1:]) <= 2 * 0.5 + 0.2
    assert {t.id for p in results for t in p.tracks} == {1, 2}


def test_a_discontinuity_empties_the_memory():
    kinds: tuple[tuple[float, dict[str, Any]], ...]
    kinds = ((1.0, {"reset": "seek"}), (1.0, {"source": "other"}), (60.0, {}), (0.0, {}))
    for start_s, broken in kinds:
        backend, frames = Listening(), noise(1.0, 10)
        engine = Engine(backend, StreamConfig(), phrases=PHRASES)
        state, _ = run(engine, frames)
        backend.said.clear()
        later = noise(0.6, 10, start_s=start_s, seed=9)
        later[0] = replace(later[0], **broken)
        later[1:] = [replace(frame, source=later[0].source) for frame in later[1:]]
        _, results = run(engine, later, state)
        assert results[0].reset
        assert_says(backend.said, later)


def test_an_output_that_is_not_finite_fails_and_leaves_nothing_behind():
    class Sick(Listening):
        def step(self, state, image):
            if len(self.said) == 4:
                for ring in state.rings.values():
                    ring.fill_(torch.nan)
            return super().step(state, image)

    backend, frames = Sick(), noise(1.5, 10)
    engine = Engine(backend, StreamConfig(), phrases=PHRASES)
    state, _ = run(engine, frames[:4])
    with pytest.raises(FloatingPointError, match="not finite"):
        engine.step(state, frames[4])
    backend.said.clear()
    later = [replace(frames[5], reset="the frame before failed"), *frames[6:9]]
    run(engine, later, state)
    assert_says(backend.said, later)


_CHILD = """
import sys
from tests.backends.test_causal_engine import go_on
print(go_on(sys.argv[1]))
"""


def go_on(path):
    engine = Engine(TorchBackend(causal_network(), CONFIG, "tiny-causal", "cpu"), StreamConfig(), phrases=PHRASES)
    return "\n".join(story(run(engine, noise(3.0, 30)[50:], StreamState.load(path))[1]))


def test_a_restored_state_goes_on_exactly_in_another_process(tmp_path):
    engine = Engine(TorchBackend(causal_network(), CONFIG, "tiny-causal", "cpu"), StreamConfig(), phrases=PHRASES)
    frames = noise(3.0, 30)
    state, _ = run(engine, frames[:50])
    state.save(tmp_path / "state.npz")
    _, results = run(engine, frames[50:], state)
    root = Path(__file__).parents[2]
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, str(tmp_path / "state.npz")],
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.strip() == "\n".join(story(results))


def test_a_saved_state_is_the_same_after_loading_and_can_be_reset(tmp_path):
    backend = Listening()
    engine = Engine(backend, StreamConfig(), phrases=PHRASES)
    state, _ = run(engine, noise(1.0, 10))
    state.save(tmp_path / "state.npz")
    again = StreamState.load(tmp_path / "state.npz")
    assert isinstance(again.network, SavedNetworkState)
    assert state.network is not None
    assert (again.network.frames, again.network.filled) == (10, 3)
    for site, ring in state.network.rings.items():
        np.testing.assert_array_equal(again.network.arrays[site], ring.numpy())
    frames = noise(0.5, 10, start_s=1.0, seed=4)
    again, _ = run(engine, frames[:2], again)
    backend.said.clear()
    run(engine, [replace(frames[2], reset="seek"), *frames[3:]], again)
    assert_says(backend.said, frames[2:])


def test_the_state_never_grows():
    engine = Engine(Listening(), StreamConfig(), phrases=PHRASES)
    state, _ = run(engine, noise(1.0, 10))
    rings = state.network.rings
    places = {site: (ring.data_ptr(), ring.nbytes) for site, ring in rings.items()}
    state, _ = run(engine, noise(2.0, 10, start_s=1.0), state)
    assert {site: (ring.data_ptr(), ring.nbytes) for site, ring in state.network.rings.items()} == places


def test_the_mode_is_the_weights_own():
    causal, window = FakeBackend(attention="causal"), FakeBackend()
    assert Engine(causal, StreamConfig(mode="causal")).initial_state().network is not None
    assert Engine(causal, StreamConfig()).initial_state().network is not None
    assert Engine(window, StreamConfig(mode="window")).initial_state().network is None
    assert Engine(window, StreamConfig()).initial_state().network is None
    with pytest.raises(UserError, match="mode is 'window', but fake was trained for 'causal': leave mode out"):
        Engine(causal, StreamConfig(mode="window"))
    with pytest.raises(UserError, match="mode is 'causal', but fake was trained for 'window'"):
        Engine(window, StreamConfig(mode="causal"))
    with pytest.raises(UserError, match="hop is 2: causal weights advance with every sample"):
        Engine(causal, StreamConfig(hop=2))


def test_a_state_of_the_other_mode_is_refused():
    state = Engine(FakeBackend(), StreamConfig()).initial_state()
    with pytest.raises(UserError, match="other weights"):
        Engine(FakeBackend(attention="causal"), StreamConfig()).step(state, film(SCENE, 0.1)[0])


def test_weights_by_path_run_the_whole_way(tmp_path):
    model = load(write_weights(tmp_path))
    assert model.spec.attention == "causal"
    engine = Engine(model, StreamConfig(), phrases=PHRASES)
    assert engine.warm_up() > 0
    _, results = run(engine, noise(0.5, 10))
    assert all(p.caption is not None and p.masks is not None for p in results)
    assert results[-1].masks.probability.shape[1:] == (2, 2)


def test_boxes_from_outside_come_with_causal_weights_too():
    from henasy_stream.types import EntityBox, EntityBoxes

    engine = Engine(FakeBackend(attention="causal"), StreamConfig(entities="outside"))
    state, results = engine.initial_state(), []
    for frame in film(SCENE, 2):
        boxes = tuple(
            EntityBox(label=square.noun, box_xyxy=square.box(frame.stamp_ns / SECOND))  # type: ignore[arg-type]
            for square in SCENE
        )
        state, perception = engine.step(state, frame, [EntityBoxes(stamp_ns=frame.stamp_ns, boxes=boxes)])
        results.append(perception)
    assert {(t.id, t.label) for t in results[-1].tracks} == {(1, "cup"), (2, "knife")}


def test_one_frame_is_enough():
    frame = Frame(image=np.zeros((16, 16, 3), np.uint8), stamp_ns=5, index=0, source="x")
    _, (perception,) = run(Engine(Listening(), StreamConfig(), phrases=PHRASES), [frame])
    assert perception.fresh
    assert dataclasses.is_dataclass(perception.caption)
