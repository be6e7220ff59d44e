"""Scores and calibration of answers to queries: on planted rows, and the commands on a short stream."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from henasy_stream.errors import UserError
from henasy_stream.loading import DEMO_WEIGHTS, load
from henasy_stream.types import QueryAnswer
from training.evaluation.command import evaluate_main
from training.evaluation.queries import Query, Row, calibration_error, score_answers
from training.evaluation.query_calibration import calibrate_main, fit


def row(score: float, *, present: bool, true: bool, iou: float = math.nan) -> Row:
    answer = QueryAnswer(text="cup", kind="entity", present=present, score=score)
    return Row(query=Query(text="cup", group="noun"), answer=answer, true=true, iou=iou)


def test_scores_of_planted_answers() -> None:
    rows = [
        row(0.9, present=True, true=True, iou=0.8),
        row(0.9, present=True, true=False),
        row(0.1, present=False, true=True, iou=0.0),
        row(0.1, present=False, true=False),
        row(0.1, present=False, true=False),
    ]
    scores = score_answers(rows)
    assert (scores["precision"], scores["recall"], scores["f1"]) == (0.5, 0.5, 0.5)
    assert scores["false_alarms"] == pytest.approx(1 / 3)
    assert (scores["iou"], scores["tracked"]) == (0.4, 0.5)
    # in the upper bin half of 0.9 are true, in the lower one a third of 0.1
    assert scores["calibration_error"] == pytest.approx((2 * 0.4 + 3 * (1 / 3 - 0.1)) / 5)


def test_a_calibrated_score_has_no_calibration_error_and_logits_come_back() -> None:
    rng = np.random.default_rng(0)
    score = rng.random(200_000)
    assert calibration_error(score, rng.random(len(score)) < score) < 0.01
    assert row(0.8, present=True, true=True).logit == pytest.approx(math.log(4))
    assert row(1.0, present=True, true=True).logit == -row(0.0, present=False, true=False).logit == 14


def test_the_fit_finds_what_was_planted() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 4, 100_000)
    true = rng.random(len(logits)) < 1 / (1 + np.exp(-(0.6 * logits - 1.0)))
    found = fit(logits, true)
    assert found.slope == pytest.approx(0.6, abs=0.02)
    assert found.offset == pytest.approx(-1.0, abs=0.05)
    assert 0.3 < found.threshold < 0.5  # F1 asks for less than even odds where most is false
    separable = fit(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([False, False, True, True]))
    assert math.isfinite(separable.slope)
    with pytest.raises(UserError, match="more streams"):
        fit(logits, np.ones(len(logits), bool))


@pytest.mark.slow
def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "own.safetensors"
    shutil.copy(DEMO_WEIGHTS, weights)
    note = json.loads(DEMO_WEIGHTS.with_suffix(".json").read_text("utf-8"))
    del note["config"]["queries"]
    weights.with_suffix(".json").write_text(json.dumps(note), "utf-8")
    assert load(str(weights)).spec.queries is None
    short = ["--weights", str(weights), "--streams", "1", "--seconds", "8"]
    assert calibrate_main([*short, "--dry-run"]) == 0
    assert load(str(weights)).spec.queries is None
    assert calibrate_main(short) == 0
    fitted = load(str(weights)).spec.queries
    assert fitted is not None
    assert fitted.entity.slope > 0
    out = tmp_path / "scores.json"
    assert evaluate_main(["queries", *short, "--json", str(out)]) == 0
    scores = json.loads(out.read_text())
    assert scores["noun"]["f1"] > 0.5
    assert scores["unknown thing"]["false_alarms"] == 0
    assert calibrate_main(["--weights", str(tmp_path / "none.safetensors")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_the_demo_weights_and_their_bundle_are_calibrated_alike() -> None:
    demo, own = load("demo"), load(str(DEMO_WEIGHTS))
    assert demo.spec.queries == own.spec.queries is not None
