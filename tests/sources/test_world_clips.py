"""Clips of the synthetic world: determinism, splits, truth against pixels, verbs that motion alone tells apart."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from henasy_stream.sources import world
from henasy_stream.sources._world import clips, motion
from henasy_stream.sources._world.ground import draw_ground
from henasy_stream.sources._world.render import cached_bytes

FINGERPRINT = """
import hashlib, sys
from henasy_stream.sources.world import render_clip
h = hashlib.sha256()
for seed in map(int, sys.argv[1].split(",")):
    c = render_clip(seed, size=(64, 80))
    h.update(c.frames.tobytes() + c.instances.tobytes() + c.boxes.tobytes() + c.narration.encode())
print(h.hexdigest())
"""


def test_two_processes_and_two_orders_agree():
    def elsewhere(seed: int) -> str:
        command = [sys.executable, "-c", FINGERPRINT, str(seed)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    seeds = (3, 11)
    theirs = [elsewhere(seed) for seed in seeds]
    ours = {}
    for seed in reversed(seeds):
        c = world.render_clip(seed, size=(64, 80))
        parts = c.frames.tobytes() + c.instances.tobytes() + c.boxes.tobytes() + c.narration.encode()
        ours[seed] = hashlib.sha256(parts).hexdigest()
    assert theirs == [ours[seed] for seed in seeds]
    assert theirs[0] != theirs[1]


def test_a_clip_has_the_promised_shapes():
    c = world.render_clip(5, size=(64, 96), num_frames=3)
    n = len(c.objects)
    assert c.frames.shape == (3, 64, 96, 3)
    assert c.frames.dtype == np.uint8
    assert c.instances.shape == (3, 64, 96)
    assert c.instances.max() <= n
    assert c.boxes.shape == (3, n, 4)
    assert c.boxes.dtype == np.float32
    assert c.is_hand.tolist() == [o.noun == world.HAND for o in c.objects]
    assert c.objects[c.target].noun == world.NOUNS[c.noun]
    things = [o.noun for o in c.objects if o.noun_index >= 0]
    assert 2 <= len(things) <= 4
    assert len(set(things)) == len(things)
    assert 1 <= c.is_hand.sum() <= 2


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), split=st.sampled_from(["train", "heldout", "pairs", "validation"]))
def test_boxes_are_the_extents_of_the_masks(seed, split):
    c = world.render_clip(seed, split=split, size=(64, 64), num_frames=2)
    for instances, boxes in zip(c.instances, c.boxes, strict=True):
        for k, box in enumerate(boxes):
            ys, xs = np.nonzero(instances == k + 1)
            if np.isnan(box).any():
                assert len(xs) < 8
            else:
                assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_splits_share_no_instance_and_no_wearer_and_hide_their_pairs():
    seen: dict[str, set[tuple[int, int]]] = {}
    pairs: dict[str, set[tuple[int, int]]] = {}
    for split in ("train", "heldout", "pairs", "validation"):
        plans = [clips.plan_clip(seed, split, 4, 1.5) for seed in range(150)]
        seen[split] = {(b.noun, b.instance) for p in plans for b in p.bodies} | {(-1, p.look.wearer) for p in plans}
        seen[split] |= {(-2, p.look.ground) for p in plans}
        pairs[split] = {(p.action.verb, p.bodies[p.action.target].noun) for p in plans}
    assert not seen["train"] & (seen["heldout"] | seen["pairs"] | seen["validation"])
    assert not seen["validation"] & (seen["heldout"] | seen["pairs"])
    assert pairs["pairs"] == set(world.HELD_OUT_PAIRS)
    assert not (pairs["train"] | pairs["heldout"]) & set(world.HELD_OUT_PAIRS)
    assert {verb for verb, _ in world.HELD_OUT_PAIRS} == set(range(len(world.VERBS)))


def test_the_pair_asked_for_is_the_pair_shown():
    c = world.render_clip(1, verb=3, noun=7, size=(32, 32))
    assert (c.verb, c.noun) == (3, 7)
    assert world.render_clip(1, split="pairs", noun=0, size=(32, 32)).verb == world.HELD_OUT_PAIRS[0][0]
    with pytest.raises(ValueError, match="unknown split 'test'"):
        world.render_clip(1, split="test")


def test_sizes_show_the_same_scene():
    differences: list[float] = []
    for seed in range(12):
        small, large = (world.render_clip(seed, size=(s, s), num_frames=2) for s in (96, 480))
        assert small.narration == large.narration
        shrunk = [cv2.resize(f, (96, 96), interpolation=cv2.INTER_AREA) for f in large.frames]
        assert np.abs(np.asarray(shrunk, int) - small.frames).mean() < 8
        both = np.abs(small.boxes - large.boxes / 5).max(-1)
        differences += both[np.isfinite(both)].tolist()
    # A sliver seen between two fingers at one size only may move a box further.
    assert np.quantile(differences, 0.97) <= 2.0


def test_a_wide_frame_shows_the_same_central_square():
    square, wide = world.render_clip(4, size=(96, 96)), world.render_clip(4, size=(96, 160))
    assert np.abs(wide.frames[:, 4:-4, 36:-36].astype(int) - square.frames[:, 4:-4, 4:-4]).mean() < 12
    assert (wide.instances[:, :, 32:-32] == square.instances).mean() > 0.995


def test_neighbouring_windows_share_their_samples():
    first = world.render_clip(9, size=(64, 64), verb=motion.TURN)
    second = world.render_clip(9, size=(64, 64), verb=motion.TURN, start_offset_s=0.5)
    assert np.array_equal(first.frames[1:], second.frames[:-1])
    assert first.narration == second.narration


def _features(seed: int, verb: int, rng: np.random.Generator) -> np.ndarray:
    plan = clips.plan_clip(seed, "heldout", 4, 1.5, verb)
    poses = [plan.action.at(t) for t in plan.times_s]
    things = np.array([(o.x, o.y, o.h, o.angle) for o, _ in poses])
    hands = np.array([(h.x, h.y) for _, h in poses])
    things += rng.normal(0, 0.02, things.shape) * (1, 1, 1.5, 2)
    hands += rng.normal(0, 0.02, hands.shape)
    apart = hands - things[:, :2]
    moved = np.abs(np.diff(things, axis=0)).sum(0)
    net = things[3] - things[0]
    return np.array([net[1], net[2], abs(net[3]), np.ptp(things[:, 0]), *np.ptp(apart, 0), moved[0], moved[3]])


def test_four_samples_of_noisy_motion_tell_the_verbs_apart():
    rng = np.random.default_rng(0)
    verbs = np.repeat(np.arange(len(world.VERBS)), 60)
    known = np.array([_features(k, v, rng) for k, v in enumerate(verbs.tolist())])
    asked = np.array([_features(10_000 + k, v, rng) for k, v in enumerate(verbs.tolist())])
    scale = known.std(0)
    distance = ((asked[:, None] - known[None]) / scale) ** 2
    nearest = np.argsort(distance.sum(-1), 1)[:, :5]
    guessed = np.array([np.bincount(verbs[row]).argmax() for row in nearest])
    assert (guessed == verbs).mean() >= 0.97


def test_the_target_stays_in_sight_and_within_the_central_square():
    for seed in range(60):
        c = world.render_clip(seed, size=(64, 64))
        assert np.isfinite(c.boxes[:, c.target]).all()
        x, y = c.boxes[:, c.target, ::2].mean(1), c.boxes[:, c.target, 1::2].mean(1)
        assert (np.minimum(x, y) > 0).all()
        assert (np.maximum(x, y) < 64).all()


def test_narrations_name_the_noun_in_many_ways():
    rng = np.random.default_rng(0)
    said = {world.narrate(0, 0, rng) for _ in range(300)}
    assert len(said) >= 20
    assert all("cup" in s for s in said)
    assert "#C C picks up a cup" in said
    assert world.phrase(0, 0) == "picking up the cup"
    assert len(world.phrases()) == len(set(world.phrases())) == 96
    assert world.phrases()[3 * len(world.NOUNS) + 7] == world.phrase(3, 7)


def test_ground_repeats_without_a_seam():
    for number in range(12):
        picture = draw_ground(number, 128).astype(int)
        inner = np.abs(np.diff(picture, axis=0)).mean((1, 2))
        seam = np.abs(picture[0] - picture[-1]).mean()
        assert seam <= inner.max() + 3


def test_clips_are_rendered_fast_and_caches_stay_bounded():
    for seed in range(60):
        world.render_clip(seed, size=(64, 64))
    best = min(_seconds_for(range(60)) for _ in range(3))
    assert 60 / best > 60, "clips per second and core; about 250 on an idle core"
    assert cached_bytes() < 300 << 20


def _seconds_for(seeds: range) -> float:
    start = time.process_time()
    for seed in seeds:
        world.render_clip(seed, size=(64, 64))
    return time.process_time() - start
