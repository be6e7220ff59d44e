"""The endless stream and the source made of it: timeline, truth, rotation, URI."""

from __future__ import annotations

import itertools
import time
import tracemalloc

import numpy as np
import pytest

from henasy_stream.errors import UserError
from henasy_stream.sources import open_source
from henasy_stream.sources.base import EndOfSource
from henasy_stream.sources.world import HAND, HELD_OUT_PAIRS, NOUNS, VERBS, World, WorldSource, world_from_uri


def test_the_timeline_is_a_sequence_of_actions_with_short_gaps():
    verbs: list[int] = []
    nouns: set[int] = set()
    for seed in range(3):
        actions = World(seed).actions_until(600)
        verbs += [a.verb for a in actions]
        nouns |= {a.noun for a in actions}
        assert all(3 <= a.end_s - a.start_s <= 6 for a in actions)
        gaps = np.array([b.start_s - a.end_s for a, b in itertools.pairwise(actions)])
        assert gaps.min() >= 0.3
        assert np.mean(gaps <= 0.6) > 0.75
        assert gaps.max() < 5
        assert all(
            (a.verb, a.noun) not in HELD_OUT_PAIRS for a in actions if VERBS[a.verb] not in ("pick up", "put down")
        )
    share = np.bincount(verbs, minlength=len(VERBS)) / len(verbs)
    assert share.min() > 0.08
    assert len(nouns) >= len(NOUNS) - 2


def test_truth_follows_the_actions():
    world = World(5)
    for action in world.actions_until(60):
        truth = world.truth((action.start_s + action.end_s) / 2, (96, 96))
        assert (truth.verb, truth.noun, truth.in_transition) == (action.verb, action.noun, False)
        assert truth.objects[truth.target].track == action.track
        assert truth.objects[truth.target].noun == NOUNS[action.noun]
        assert truth.action_start_s == action.start_s
        between = world.truth(action.start_s - 0.05, (96, 96))
        assert between.in_transition
        assert (between.verb, between.target) == (-1, -1)


def test_held_things_are_in_contact_with_a_hand():
    world = World(2)
    for action in world.actions_until(60):
        truth = world.truth((action.start_s + action.end_s) / 2, (96, 96))
        if VERBS[action.verb] != "tap":
            assert truth.target in [thing for _, thing in truth.contacts]
        assert all(truth.is_hand[hand] and not truth.is_hand[thing] for hand, thing in truth.contacts)


def test_truth_is_what_render_shows_in_any_order():
    world, again = World(3), World(3)
    late_image, late = world.render(40.0, (96, 128))
    early_image, early = world.render(2.0, (96, 128))
    assert np.array_equal(again.render(2.0, (96, 128))[0], early_image)
    assert np.array_equal(again.render(40.0, (96, 128))[0], late_image)
    for instances, t in ((early, 2.0), (late, 40.0)):
        truth = again.truth(t, (96, 128))
        for k, box in enumerate(truth.boxes):
            ys, xs = np.nonzero(instances == k + 1)
            if np.isfinite(box).all():
                assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_a_hard_stream_has_twins_that_stay_fast_turns_and_covered_things():
    world = World(101, hard=True)
    first = world.truth(0.0, (96, 96)).objects
    assert (first[0].noun, first[0].instance) == (first[1].noun, first[1].instance)
    assert first[0].track != first[1].track
    hidden, last = 0, np.zeros(0, bool)
    for k in range(240):
        truth = world.truth(k / 2, (96, 96))
        assert truth.objects == first  # what is carried away comes back itself
        seen = np.array([np.isfinite(box).all() for box in truth.boxes[~truth.is_hand]])
        hidden += int((last & ~seen).sum()) if k else 0
        last = seen
    assert hidden >= 5
    with pytest.raises(UserError, match="hard is '2'"):
        world_from_uri("world?hard=2")
    assert np.array_equal(world_from_uri("world?seed=3&hard=0").picture(9), world_from_uri("world?seed=3").picture(9))


def test_nothing_jumps_while_it_can_be_seen():
    world, moves = World(8), list[float]()
    previous: dict[int, np.ndarray] = {}
    for k in range(900):
        truth = world.truth(k / 15, (96, 96))
        now = {
            o.track: (box[:2] + box[2:]) / 2
            for o, box, hand in zip(truth.objects, truth.boxes, truth.is_hand, strict=True)
            if np.isfinite(box).all() and box[3] < 96 and not hand
        }
        moves += [float(np.abs(now[track] - previous[track]).max()) for track in now.keys() & previous.keys()]
        previous = now
    # Being covered moves the middle of what is seen; a jump from place to place would be larger.
    assert np.quantile(moves, 0.99) < 10
    assert max(moves) < 30


def test_objects_come_and_go_but_tracks_are_never_reused():
    world = World(1)
    seen: dict[int, tuple[str, int]] = {}
    for t in range(0, 300, 2):
        for o in world.truth(float(t), (64, 64)).objects:
            assert seen.setdefault(o.track, (o.noun, o.instance)) == (o.noun, o.instance)
    assert len(seen) > 6
    assert {seen[0][0], seen[1][0]} == {HAND}


def test_hours_take_no_memory():
    world = World(4)
    world.truth(60.0, (64, 64))
    tracemalloc.start()
    world.truth(600.0, (64, 64))
    before = tracemalloc.get_traced_memory()[0]
    for hour in (1, 2):
        world.truth(3600.0 * hour, (64, 64))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 3 << 20


def test_every_frame_comes_in_order_with_its_media_time():
    with WorldSource("world?seed=7&size=96x64&fps=25&seconds=0.4") as source:
        frames = list(source)
        with pytest.raises(EndOfSource):
            source.read()
    assert [f.stamp_ns for f in frames] == [k * 40_000_000 for k in range(10)]
    assert [f.index for f in frames] == list(range(10))
    assert frames[0].image.shape == (64, 96, 3)
    assert {(f.clock, f.stamp_source, f.source) for f in frames} == {("media", "synthetic", source.uri)}
    assert source.frames_in == 10
    assert not source.live


def test_open_source_knows_the_world():
    with open_source("world?size=64x64") as source:
        frame = source.read()
    assert frame is not None
    assert frame.image.any()


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_truth_turns_with_the_picture(rotate):
    view = world_from_uri(f"world?seed=7&size=128x96&rotate={rotate}")
    image = view.picture(60)
    assert image.shape == (96, 128, 3)
    upright, instances = view.world.render(2.0, view.upright_size)
    assert np.array_equal(np.rot90(image, -rotate // 90), upright)
    turned = np.rot90(instances, rotate // 90)
    for k, box in enumerate(view.truth(view.stamp_ns(60)).boxes):
        ys, xs = np.nonzero(turned == k + 1)
        if np.isfinite(box).all():
            assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_black_frames_show_nothing():
    view = world_from_uri("world?black=1&size=64x64")
    assert not view.picture(3).any()
    assert np.isnan(view.truth(0).boxes).all()


def test_realtime_waits_for_the_wall_clock():
    with WorldSource("world?size=32x32&fps=20&realtime=1&seconds=0.3") as source:
        start = time.monotonic()
        assert len(list(source)) == 6
        assert time.monotonic() - start >= 0.24
    with WorldSource("world?size=32x32&fps=0.2&realtime=1") as slow:
        assert slow.read() is not None
        assert slow.read(timeout_s=0.05) is None


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("world?sede=7", "did you mean seed?"),
        ("world?banana=7", "it knows seed, size"),
        ("world?size=big", "as 1280x720"),
        ("world?size=1280", "as 1280x720"),
        ("world?size=1x1", "between 16 and 8192"),
        ("world?fps=0", "frames per second"),
        ("world?fps=nan", "frames per second"),
        ("world?rotate=45", "0, 90, 180 or 270"),
        ("world?seed=-1", "a whole number from 0"),
        ("world?seed=1.5", "a whole number from 0"),
        ("world?seconds=0", "above 0"),
        ("world?seconds=", "above 0"),
        ("world?split=test", "one of train, heldout, pairs, validation"),
        ("world?black=yes", "0 or 1"),
        ("world:7", "world?seed=7"),
    ],
)
def test_a_bad_uri_gets_one_helpful_line(uri, says):
    with pytest.raises(UserError) as caught:
        world_from_uri(uri)
    message = str(caught.value)
    assert message.startswith(uri)
    assert says in message
    assert "\n" not in message
