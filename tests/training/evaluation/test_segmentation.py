from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from henasy_stream.sources.world import NOUNS, phrases, world_from_uri
from henasy_stream.stream.entities import Detections
from henasy_stream.stream.texts import prepare_texts
from tests.stream.fake import FakeBackend, text_vector
from training.evaluation.segmentation import FPS, NO_ACTION, Variant, large_bank, scores, tell, truth
from training.evaluation.track_recording import Hop, Seen

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 12.0
NOTHING = Seen(ids=np.zeros(0, np.int64), boxes=np.zeros((0, 4), np.float32))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HENASY_CACHE", str(tmp_path / "cache"))


def hop(stamp_s, text, rival=None):
    """A window of 1.5 s up to `stamp_s` that shows what `text` says, or hardly rather than `rival`; no entities."""
    video = text_vector(text)
    if rival is not None:
        video = 0.53 * video + 0.47 * text_vector(rival)
        video /= np.linalg.norm(video)
    stamps = np.round(np.maximum(np.array([-1.5, -1.0, -0.5, 0.0]) + stamp_s, 0) * 1e9).astype(np.int64)
    none = Detections(
        masks=np.zeros((0, 4, 4, 4), np.float32),
        embeddings=np.zeros((0, 32), np.float32),
        labels=np.zeros((0, 5), np.float32),
        presence=np.zeros(0, np.float32),
        boxes=np.zeros((0, 4)),
        slots=np.zeros(0, np.intp),
    )
    return Hop(stamps=stamps, video=video, detections=none, truth=NOTHING, tracks=NOTHING)


def test_the_truth_is_that_of_the_stream():
    view = world_from_uri("world?seed=3")
    labels = truth(view, 30)
    assert len(labels) == 30 * FPS
    for index in range(0, len(labels), 7):
        now = view.truth(round(index / FPS * 1e9))
        assert labels[index] == (NO_ACTION if now.in_transition else now.verb * len(NOUNS) + now.noun)


def test_windows_that_say_what_happened_in_their_middle_give_segments_in_time():
    """The middle of a window lies 0.75 s back, so what is said online comes late and the closed segments do not."""
    spoken = phrases()[5], phrases()[28]
    texts = prepare_texts(FakeBackend(), phrases())
    true = np.repeat([5, 28], round(SECONDS * FPS / 2))
    hops = [hop(t, spoken[int(t - 0.75 >= SECONDS / 2)]) for t in np.arange(0, SECONDS, 0.5)]
    told = tell(hops, texts, Variant(hold_s=1.0), SECONDS)
    found = scores([told], [true], SECONDS)
    assert found["final_accuracy"] > 0.9
    assert found["final_f1_50"] == found["final_edit"] == found["online_edit"] == 1
    assert found["online_accuracy"] < found["final_accuracy"]
    assert found["flicker_a_minute"] == 0


def test_the_large_bank_holds_the_worlds_phrases():
    bank = large_bank()
    assert (len(bank.verbs), len(bank.nouns), len(set(bank.texts))) == (97, 300, 97 * 300)
    assert set(phrases()) <= set(bank.texts)


def test_what_wavers_flickers_without_a_hold_only():
    spoken = phrases()[5], phrases()[28]
    texts = prepare_texts(FakeBackend(), phrases())
    true = np.full(round(SECONDS * FPS), 5)
    hops = [hop(t, spoken[int(t % 3 == 1)], spoken[int(t % 3 != 1)]) for t in np.arange(0, SECONDS, 0.5)]
    plain, ours = (scores([tell(hops, texts, Variant(hold_s=hold), SECONDS)], [true], SECONDS) for hold in (0.0, 1.0))
    assert plain["flicker_a_minute"] == pytest.approx(8 / SECONDS * 60)
    assert ours["flicker_a_minute"] < plain["flicker_a_minute"]
    assert ours["online_edit"] > plain["online_edit"]


@pytest.mark.slow
def test_command_measures_short_streams(tmp_path):
    out = tmp_path / "s.json"
    command = [sys.executable, str(ROOT / "training/evaluate.py"), "segmentation", "--streams", "1", "--seconds", "6"]
    subprocess.run([*command, "--json", str(out)], check=True, cwd=tmp_path, capture_output=True, timeout=300)
    found = json.loads(out.read_text())
    assert found["about"]["seed"] == 201
    for kind in ("plain", "hard"):
        assert 0 <= found[f"{kind}: ours"]["online_accuracy"] <= 1
        assert set(found[f"{kind}: ours"]) == set(found[f"{kind}: every window for itself"])
