"""Scores of identities: against tracks whose faults are planted, and the whole command on a short stream."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from henasy_stream.stream.entities import Detections
from training.evaluation.command import evaluate_main
from training.evaluation.track_baselines import bytetrack, hungarian, slot_index
from training.evaluation.track_recording import Hop, Seen, dropped, steady
from training.evaluation.track_scores import score_tracks
from training.evaluation.tracking import cameras

GRID, HOPS = 20, 24


def hop(index: int, *, swapped: bool = False) -> Hop:
    """Two things side by side that drift to the right; the slots that hold them may have changed places."""
    stamps = (np.arange(4) + index - 3) * 500_000_000
    boxes = np.array([[0, 0, 60, 60], [100, 100, 170, 170]], np.float32) + np.array([index, 0, index, 0], np.float32)
    masks = np.zeros((2, 4, GRID, GRID), np.float32)
    masks[0, :, :6, :6] = masks[1, :, 10:17, 10:17] = 1
    order = np.array([1, 0] if swapped else [0, 1])
    found = Detections(
        masks=masks[order],
        embeddings=np.eye(2, dtype=np.float32)[order],
        labels=np.eye(2, dtype=np.float32)[order],
        presence=np.ones(2, np.float32),
        boxes=boxes[order].astype(np.float64),
        slots=np.arange(2),
    )
    truth = Seen(ids=np.array([7, 3]), boxes=boxes)
    return Hop(stamps=stamps, video=np.zeros(4, np.float32), detections=found, truth=truth, tracks=truth)


def scores(hops: list[Hop], tracks: list[Seen]) -> dict[str, float]:
    return score_tracks([([one.truth for one in hops], tracks)]).as_dict()


def test_truth_scores_full_marks_and_nothing_scores_none() -> None:
    hops = [hop(k) for k in range(HOPS)]
    perfect = scores(hops, [one.truth for one in hops])
    assert perfect["hota"] == perfect["idf1"] == perfect["recall"] == perfect["precision"] == pytest.approx(1)
    assert (perfect["switches"], perfect["identities"]) == (0, 2)
    nothing = scores(hops, [Seen(ids=np.zeros(0, np.int64), boxes=np.zeros((0, 4), np.float32))] * HOPS)
    assert nothing["idf1"] == nothing["recall"] == 0


def test_ids_that_change_places_once_cost_half_the_idf1_and_two_switches() -> None:
    hops = [hop(k) for k in range(HOPS)]
    ids = [np.array([1, 2]) if k < HOPS / 2 else np.array([2, 1]) for k in range(HOPS)]
    changed = scores(hops, [Seen(ids=i, boxes=one.truth.boxes) for i, one in zip(ids, hops, strict=True)])
    assert changed["switches"] == 2
    assert changed["idf1"] == pytest.approx(0.5)
    assert changed["det_a"] == pytest.approx(1)
    assert changed["hota"] == pytest.approx(np.sqrt(1 / 3))  # each id shares a third of its frames with its thing


def test_only_the_slot_index_is_deceived_by_slots_that_change_places() -> None:
    hops = [hop(k, swapped=k % 2 == 1) for k in range(HOPS)]
    assert scores(hops, slot_index(hops))["switches"] == 2 * (HOPS - 1)
    for tracker in (hungarian, bytetrack):
        found = scores(hops, tracker(hops))
        assert (found["switches"], found["identities"]) == (0, 2), tracker.__name__
        assert found["idf1"] > 0.95


def test_hungarian_compares_neighbours_where_windows_are_single_frames() -> None:
    def newest(one: Hop) -> Hop:
        return replace(
            one, stamps=one.stamps[-1:], detections=replace(one.detections, masks=one.detections.masks[:, -1:])
        )

    hops = [newest(hop(k, swapped=k % 2 == 1)) for k in range(HOPS)]
    assert scores(hops, hungarian(hops))["switches"] == 0


def test_cameras_drop_the_share_that_they_are_named_for() -> None:
    whole = steady(60, fps=30)
    assert len(dropped(whole, 0.3, 5)) == pytest.approx(0.7 * len(whole), rel=0.05)
    named = cameras(60, 5)
    changed = np.diff(named["10 instead from the middle on"])
    assert changed[:800].max() < 34e6
    assert changed[-200:].min() > 99e6
    assert len(named) == 5


@pytest.mark.slow
def test_command_measures_short_streams(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    argv = ["tracking", "--streams", "1", "--seconds", "12", "--troubled", "1", "--json", str(path)]
    assert evaluate_main(argv) == 0
    found = json.loads(path.read_text())
    ours, shuffled = found["ours"], found["ours, slots shuffled"]
    for name in ("hota", "idf1", "switches", "identities"):
        assert shuffled[name] == pytest.approx(ours[name]), name
    assert ours["idf1"] > found["slot index"]["idf1"]
    assert found["ours, 60% of them dropped"]["idf1"] > 0.3
    assert found["about"]["seconds"] == 12
