from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from henasy_stream import _lettering
from henasy_stream._palette import colour_of, text_colour
from henasy_stream.annotate import annotate
from henasy_stream.types import Alternative, Caption, Frame, Masks, Perception, QueryAnswer, Relation, Track

GREY = 90


def frame_of(width=320, height=240, value=GREY):
    return Frame(image=np.full((height, width, 3), value, np.uint8), stamp_ns=10**9, index=0, source="test")


def track(number=1, box=(40.0, 60.0, 160.0, 180.0), **changes):
    values: dict[str, Any] = {
        "label": "cup",
        "label_score": 0.8,
        "state": "tracked",
        "mask_index": None,
        "query": None,
    } | changes
    return Track(id=number, label_index=0, score=0.9, box_xyxy=box, first_seen_ns=0, last_seen_ns=0, **values)


def perceived(frame, *tracks, **changes):
    values: dict[str, Any] = {"caption": None, "masks": None, "window_end_ns": frame.stamp_ns} | changes
    return Perception(frame=frame, stamp_ns=frame.stamp_ns, window_start_ns=0, tracks=tracks, **values)


def caption(text="pick up the cup", alternatives=(), **changes):
    values: dict[str, Any] = {"score": 0.7, "track_ids": ()} | changes
    return Caption(segment_id=1, text=text, start_ns=0, end_ns=1, final=False, alternatives=alternatives, **values)


def changed(frame, picture):
    return (picture != frame.image).any(axis=2)


def disc(frame, grid=16):
    """A mask whose soft disc covers the middle of the frame."""
    y, x = (np.mgrid[0:grid, 0:grid] + 0.5) / grid - 0.5
    probability = 1 / (1 + np.exp((np.hypot(x, y) - 0.25) * 40))
    scale = np.array([[frame.width / grid, 0, 0], [0, frame.height / grid, 0]])
    return Masks(probability=probability[None].astype(np.float32), to_source=scale)


def test_nothing_seen_leaves_the_picture_and_gives_a_new_array():
    frame = frame_of()
    picture = annotate(frame, perceived(frame))
    assert (picture == frame.image).all()
    assert not np.shares_memory(picture, frame.image)


def test_the_input_is_never_modified():
    frame = frame_of()
    frame.image.setflags(write=False)
    everything = perceived(
        frame,
        track(1, mask_index=1),
        track(2, (10.0, 10.0, 90.0, 90.0), state="lost"),
        track(3, query="spoon"),
        masks=disc(frame),
        caption=caption(alternatives=(Alternative(text="put it down", score=0.1),)),
    )
    picture = annotate(frame, everything, "30 fps", visible=[[40, 0], [280, 0], [280, 240], [40, 240]])
    assert (frame.image == GREY).all()
    assert changed(frame, picture).mean() > 0.2
    assert picture.shape == frame.image.shape
    assert picture.dtype == np.uint8


def test_a_mask_tints_its_pixels_with_the_tracks_colour_and_leaves_the_rest():
    frame = frame_of()
    picture = annotate(frame, perceived(frame, track(4, (159.0, 119.0, 161.0, 121.0), mask_index=1), masks=disc(frame)))
    inside = picture[160, 190].astype(float)
    tint = inside - GREY
    towards = np.array(colour_of(4), float) - GREY
    assert np.dot(tint, towards) / np.linalg.norm(tint) / np.linalg.norm(towards) > 0.99
    assert not changed(frame, picture)[:30, :30].any()


def test_edges_of_masks_are_soft():
    frame = frame_of(640, 480)
    picture = annotate(frame, perceived(frame, track(1, (0.0, 0.0, 2.0, 2.0), mask_index=1), masks=disc(frame)))
    tint = np.abs(picture[240, :320].astype(int) - GREY).sum(1)
    full = np.median(tint[tint > 0])
    assert ((tint > 0.03 * full) & (tint < 0.6 * full)).sum() >= 4


def test_masks_follow_their_affine():
    frame = frame_of(240, 320)
    probability = np.zeros((1, 10, 10), np.float32)
    probability[0, 1:3, 6:9] = 1.0
    turned = np.array([[0, -24.0, 240.0], [32.0, 0, 0]])  # the model saw the frame turned by 90 degrees
    masks = Masks(probability=probability, to_source=turned)
    mark = changed(frame, annotate(frame, perceived(frame, track(1, (0.0, 0.0, 1.0, 1.0), mask_index=1), masks=masks)))
    mark[:40, :120] = False  # the label
    ys, xs = np.nonzero(mark)
    assert xs.min() >= 168 - 24
    assert xs.max() <= 216 + 24
    assert abs(xs.mean() - 192) < 5
    assert abs(ys.mean() - 240) < 5


def test_masks_do_not_leave_the_region_that_the_model_saw():
    frame = frame_of(400, 200)
    ones = np.ones((1, 8, 8), np.float32)
    masks = Masks(probability=ones, to_source=np.array([[25.0, 0, 100.0], [0, 25.0, 0]]))
    mark = changed(
        frame, annotate(frame, perceived(frame, track(1, (200.0, 90.0, 201.0, 91.0), mask_index=1), masks=masks))
    )
    assert mark[150, 110:290].all()
    assert not mark[150, :98].any()
    assert not mark[150, 302:].any()


def test_lost_tracks_are_fainter_and_removed_ones_absent():
    frame = frame_of()

    def strength(state):
        seen = perceived(frame, track(1, (159.0, 119.0, 161.0, 121.0), mask_index=1, state=state), masks=disc(frame))
        return int(np.abs(annotate(frame, seen)[160, 190].astype(int) - GREY).sum())

    assert strength("tracked") > 1.5 * strength("lost") > 0
    assert strength("removed") == 0


def test_what_has_been_lost_for_long_is_not_drawn():
    old = replace(frame_of(), stamp_ns=2 * 10**9 + 1)  # tracks were last seen at 0
    assert not changed(old, annotate(old, perceived(old, track(state="lost")))).any()
    young = replace(old, stamp_ns=2 * 10**9)
    assert changed(young, annotate(young, perceived(young, track(state="lost")))).any()


def test_the_last_result_fades_between_windows():
    frame = frame_of()
    where = (159.0, 119.0, 161.0, 121.0)
    tints = [
        np.abs(
            annotate(frame, perceived(frame, track(1, where, mask_index=1), masks=disc(frame), window_end_ns=end))[
                160, 190
            ].astype(int)
            - GREY
        ).sum()
        for end in (10**9, 5 * 10**8, 0, -(10**10))
    ]
    assert tints[0] > tints[1] > tints[2] == tints[3] > 0


def test_query_and_lost_tracks_look_different_from_seen_ones():
    frame = frame_of(640, 480)
    box = (100.0, 100.0, 500.0, 400.0)
    seen, query, lost = (
        changed(frame, annotate(frame, perceived(frame, track(1, box, **kind))))
        for kind in ({}, {"query": "cup"}, {"state": "lost"})
    )
    assert not seen[300, 480:520].any() or not seen[250, 480:520].any()
    assert query[130:390, 490:510].any(1).all()
    dashed = lost[110:390, 495:505].any(1)
    assert 0.3 < dashed.mean() < 0.8


def test_the_box_is_drawn_inside_half_open_bounds():
    frame = frame_of()
    mark = changed(frame, annotate(frame, perceived(frame, track(1, (100.0, 100.0, 320.0, 240.0)))))
    assert mark[239, 300]
    assert mark[200:, 319].any()


def test_labels_do_not_cover_each_other():
    frame = frame_of(640, 480)
    one = annotate(frame, perceived(frame, track(1, (100.0, 200.0, 101.0, 201.0))))
    two = annotate(
        frame, perceived(frame, track(1, (100.0, 200.0, 101.0, 201.0)), track(2, (102.0, 200.0, 103.0, 201.0)))
    )
    assert changed(frame, two).sum() > 1.7 * changed(frame, one).sum()


def test_the_caption_bar_lies_at_the_bottom_and_alternatives_make_it_higher():
    frame = frame_of(value=200)
    plain = changed(frame, annotate(frame, perceived(frame, caption=caption())))
    more = (Alternative(text="put down the cup", score=0.2),)
    both = changed(frame, annotate(frame, perceived(frame, caption=caption(alternatives=more))))
    assert plain[-1].all()
    assert not plain[:180].any()
    assert both.any(1).sum() > plain.any(1).sum()


def test_a_caption_says_when_a_likelier_one_waits():
    frame = frame_of(640, 480, value=0)

    def first_line(score: float) -> int:
        """Pixels in the line of the caption; its own text and the figures' width are the same in all."""
        waiting = (Alternative(text="put down the cup", score=0.5),)
        picture = annotate(frame, perceived(frame, caption=caption(alternatives=waiting, score=score)))
        bar = np.flatnonzero((picture != 0).any(axis=(1, 2)))
        return int((picture[bar[0] : bar[0] + 24] != 0).any(2).sum())

    assert first_line(0.48) > first_line(0.58) + 60
    assert not caption(score=0.3).held


def test_the_caption_names_its_tracks_by_colour():
    frame = frame_of(640, 480, value=0)
    picture = annotate(frame, perceived(frame, caption=caption(track_ids=(7,))))
    assert (picture.reshape(-1, 3) == colour_of(7)).all(1).sum() > 20


def test_the_legend_is_at_the_top_right():
    frame = frame_of(value=200)
    mark = changed(frame, annotate(frame, perceived(frame), "24 fps\nage 60 ms"))
    ys, xs = np.nonzero(mark)
    assert xs.min() > 160
    assert ys.max() < 80


def test_labels_do_not_cover_the_legend():
    frame = frame_of(640, 480)
    with_legend = annotate(frame, perceived(frame), "24 fps")
    legend = changed(frame, with_legend)
    both = annotate(
        frame, perceived(frame, track(1, (600.0, 30.0, 630.0, 60.0), label="a rather long label")), "24 fps"
    )
    assert (both[legend] == with_legend[legend]).mean() > 0.99


def test_what_the_model_cannot_see_is_dimmed():
    frame = frame_of(320, 240)
    picture = annotate(frame, perceived(frame), visible=[[40, 0], [280, 0], [280, 240], [40, 240]])
    assert (picture[100, [5, 310]] < GREY / 1.5).all()
    assert (picture[100, 60:260] == GREY).all()


def test_a_model_that_sees_everything_leaves_no_outline():
    frame = frame_of()
    picture = annotate(frame, perceived(frame), visible=[[0, 0], [320, 0], [320, 240], [0, 240]])
    assert (picture == frame.image).all()


@pytest.mark.parametrize(
    "text",
    ["кружка на столе", "杯子", "cup 😀🍎", "é ü ß — “x” → ×", "a\nb\tc\0d", "\ud83d", "", " ", "x" * 5000, "مرحبا"],
)
def test_any_text_can_be_drawn(text):
    frame = frame_of(640, 480)
    more = (Alternative(text=text, score=0.1),)
    seen = perceived(frame, track(1, label=text), track(2, query=text), caption=caption(text, alternatives=more))
    assert changed(frame, annotate(frame, seen, text)).any()


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 7), (17, 900), (900, 17), (16, 16), (64, 48), (5000, 3000)])
def test_any_size_can_be_drawn(size):
    frame = frame_of(*size)
    box = (0.0, 0.0, float(size[0]), float(size[1]))
    tracks = [
        track(i, box, state=s, query=q, mask_index=1)
        for i, (s, q) in enumerate([("tracked", None), ("lost", None), ("new", "cup")])
    ]
    seen = perceived(
        frame, *tracks, masks=disc(frame), caption=caption(alternatives=(Alternative(text="b", score=0.1),))
    )
    inner = [[size[0] * 0.2, 0], [size[0] * 0.8, 0], [size[0] * 0.8, size[1]], [size[0] * 0.2, size[1]]]
    picture = annotate(frame, seen, "30 fps\n12 ms", visible=inner)
    assert picture.shape == frame.image.shape


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.floats(-1e4, 1e4)] * 4), st.integers(1, 60), st.integers(1, 60), st.sampled_from(["tracked", "lost"])
)
def test_any_box_can_be_drawn(box, width, height, state):
    frame = frame_of(width, height)
    annotate(frame, perceived(frame, track(1, box, state=state, query="x")))


def test_a_track_without_its_mask_still_has_its_box():
    frame = frame_of()
    seen = perceived(frame, track(1, mask_index=5), masks=disc(frame))
    assert changed(frame, annotate(frame, seen)).any()


def lab(colour):
    pixel = np.array([[colour]], np.float32) / 255
    return np.asarray(cv2.cvtColor(pixel, cv2.COLOR_RGB2LAB)[0, 0], float)


def test_colours_of_neighbouring_ids_are_far_apart():
    for first, second in itertools.combinations(range(40), 2):
        apart = np.linalg.norm(lab(colour_of(first)) - lab(colour_of(second)))
        assert apart > 20 or second - first > 4, (first, second)


def test_colours_are_no_skin_and_text_reads_on_them():
    skin = [lab(c) for c in ((241, 194, 167), (224, 172, 125), (198, 134, 96), (141, 85, 54), (90, 56, 37))]
    for number in range(60):
        colour = colour_of(number)
        assert min(np.linalg.norm(lab(colour) - s) for s in skin) > 20, number
        luminance, ink = (
            (0.2126 * r + 0.7152 * g + 0.0722 * b)
            for r, g, b in (
                [(v / 255) ** 2.2 for v in colour],
                [(v / 255) ** 2.2 for v in text_colour(colour)],
            )
        )
        contrast = (max(luminance, ink) + 0.05) / (min(luminance, ink) + 0.05)
        assert contrast > 4.5, number


def test_a_colour_depends_on_the_id_alone():
    first = [colour_of(i) for i in range(100)]
    colour_of.cache_clear()
    assert [colour_of(i) for i in reversed(range(100))] == first[::-1]


def test_long_text_is_made_to_fit():
    text, size = _lettering.fit("a very long caption about cooking " * 5, 30, 300, 15)
    assert size == 15
    assert text.endswith("…")
    assert _lettering.width_of(text, size) <= 300
    assert _lettering.fit("cup", 30, 300, 15) == ("cup", 30)
    assert _lettering.fit("cup", 30, 0, 15)[0] == ""


def test_text_works_without_a_font_of_opencv(monkeypatch):
    monkeypatch.setattr(_lettering, "_HAS_OPENCV_FONT", False)
    _lettering.ink.cache_clear()
    try:
        for text in ("cup · 3", "кружка 😀 …"):
            drawn = _lettering.ink(text, 20)
            assert drawn.shape[0] == _lettering.line_height(20)
            assert drawn.max() > 200
    finally:
        _lettering.ink.cache_clear()


@pytest.mark.parametrize("bold", [False, True])
def test_text_stays_inside_its_line(bold):
    for size in (9, 13, 24, 40):
        drawn = _lettering.ink("gjpqy ÅÉ|", size, bold)
        assert drawn[:, -1].max() < 120
        assert drawn[-1].max() < 200
    assert math.isclose(_lettering.width_of("cupcup", 20), 2 * _lettering.width_of("cup", 20), rel_tol=0.1)


def test_a_hd_frame_takes_milliseconds():
    frame = frame_of(1280, 720)
    masks = disc(frame)
    seen = perceived(
        frame,
        *(track(i, (100.0 * i, 100.0, 100.0 * i + 300, 500.0), mask_index=1) for i in (1, 2, 3)),
        masks=masks,
        caption=caption(),
    )
    annotate(frame, seen, "x")
    took = []
    for _ in range(15):
        started = time.perf_counter()
        annotate(frame, seen, "x")
        took.append(time.perf_counter() - started)
    assert min(took) < 0.03  # 8 ms on an idle core; the bound only catches a full-frame float path


def related(number=1, other=2, score=0.8, predicate="contacts"):
    return Relation(subject_id=number, predicate=predicate, object_id=other, score=score, start_ns=0)


def test_a_relation_is_a_line_from_subject_to_object():
    frame = frame_of()
    tracks = (track(1, (20.0, 150.0, 80.0, 220.0), label="hand"), track(2, (200.0, 40.0, 260.0, 100.0)))
    plain = annotate(frame, perceived(frame, *tracks))
    drawn = annotate(frame, perceived(frame, *tracks, relations=(related(),)))
    differs = (plain != drawn).any(2)
    assert (drawn[70, 230] == colour_of(2)).all()  # the middle of the object
    halfway = differs[100:140, 120:180]
    assert halfway.any()
    assert not differs[:30].any()
    assert not differs[:, :30].any()
    assert differs.mean() < 0.03


@pytest.mark.parametrize("hand_x", [120, 240])
def test_the_word_of_a_relation_stands_on_the_side_that_its_line_does_not_come_from(hand_x):
    frame = frame_of()
    tracks = track(1, (hand_x - 20.0, 80.0, hand_x + 20.0, 160.0), label="hand"), track(2, (160.0, 90.0, 200.0, 150.0))
    plain = annotate(frame, perceived(frame, *tracks))
    drawn = annotate(frame, perceived(frame, *tracks, relations=(related(),)))
    unlettered = annotate(frame, perceived(frame, *tracks, relations=(related(predicate=""),)))
    xs = np.nonzero((drawn != unlettered).any(2))[1]
    assert (plain != unlettered).any()
    assert xs.min() > 180 if hand_x < 180 else xs.max() < 180


def test_relations_of_unknown_tracks_are_not_drawn():
    frame, one = frame_of(), track(1)
    plain = annotate(frame, perceived(frame, one))
    assert (annotate(frame, perceived(frame, one, relations=(related(1, 9), related(9, 1)))) == plain).all()


@pytest.mark.parametrize(("width", "height"), [(16, 16), (40, 300), (320, 240)])
def test_relations_fit_into_any_picture(width, height):
    frame = frame_of(width, height)
    tracks = tuple(track(k, (0.0, 0.0, width / k, height / k)) for k in range(1, 6))
    many = tuple(related(a, b) for a in range(1, 6) for b in range(1, 6) if a != b)
    assert annotate(frame, perceived(frame, *tracks, relations=many)).shape == (height, width, 3)


def answered(text="picks up", kind="action", present=True, tracks=()):
    scores = tuple(0.5 for _ in tracks)
    return QueryAnswer(text=text, kind=kind, present=present, score=0.8, track_ids=tracks, track_scores=scores)


def test_what_acts_has_a_ring_and_nothing_else():
    frame = frame_of(640, 480)
    pair = track(1, (300.0, 260.0, 360.0, 320.0)), track(2, (460.0, 260.0, 520.0, 320.0))
    plain = annotate(frame, perceived(frame, *pair))
    thing = annotate(frame, perceived(frame, *pair, queries=(answered(kind="entity", tracks=(1,)),)))
    acts = annotate(frame, perceived(frame, *pair, queries=(answered(tracks=(1,)),)))
    ring = (acts != thing).any(axis=2)
    ys, xs = np.nonzero(ring)
    assert ring.any()
    assert xs.min() >= 280
    assert xs.max() < 390
    assert ys.min() > 200
    assert (thing[200:] == plain[200:]).all()  # the list at the top is all that a thing adds
    gone = annotate(frame, perceived(frame, track(1, state="lost"), queries=(answered(tracks=(1,)),)))
    lost = annotate(frame, perceived(frame, track(1, state="lost"), queries=(answered(kind="entity", tracks=(1,)),)))
    assert (gone == lost).all()


def test_answers_are_listed_in_the_top_left_corner_absent_ones_dimmer():
    frame = frame_of(640, 480, value=0)
    for present in (True, False):
        picture = annotate(frame, perceived(frame, queries=(answered("zebra", "entity", present),)))
        ys, xs = np.nonzero(changed(frame, picture))
        assert xs.max() < 320
        assert ys.max() < 60
        assert picture.max() > 200 if present else 120 < picture.max() <= 200
    many = annotate(frame, perceived(frame, queries=tuple(answered(f"thing {i}", "entity") for i in range(40))))
    assert not changed(frame, many)[250:].any()
    tiny = frame_of(40, 30)
    annotate(tiny, perceived(tiny, queries=(answered("a long text about nothing", tracks=(1,)),)))


def test_answers_begin_at_one_margin_and_can_be_read_on_bright_ground():
    frame = frame_of(640, 480, value=255)
    left = []
    for tracks in ((), (1, 2, 3)):
        picture = annotate(frame, perceived(frame, queries=(answered("zebra", "entity", tracks=tracks),)))
        left.append(np.nonzero(picture[12:28, 10:].min(2) > 240)[1].min())
    assert left[0] == left[1]
    absent = annotate(frame, perceived(frame, queries=(answered("zebra", "entity", present=False),)))[10:26, 12:50]
    ground, letters = (np.percentile(absent.max(2), p) / 255 for p in (10, 99))
    assert (letters**2.2 + 0.05) / (ground**2.2 + 0.05) > 3  # the contrast that WCAG asks of large text, and more
