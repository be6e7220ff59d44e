"""The card says what the files say, and the shipped card is the one that its results give."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.card import CARD, ROOT, ROWS, WEIGHTS, main, render, seed_of

ABOUT = {
    "seed": 0,
    "minutes": 24.0,
    "recipe": "world_demo",
    "steps": 100,
    "batch": 48,
    "threads": 1,
    "device": "cpu",
    "losses": {"ego": 1.0, "presence": 0.5},
}


def write_seed(folder: Path, seed: int, value: float) -> None:
    scores = {name: value for name, _, _ in ROWS} | {"clips": 2000}
    text = json.dumps({"about": ABOUT | {"seed": seed}, "heldout": scores, "pairs": scores})
    (folder / f"seed{seed}.json").write_text(text)


def test_mean_and_spread_over_seeds(tmp_path: Path) -> None:
    write_seed(tmp_path, 0, 0.5)
    write_seed(tmp_path, 1, 0.7)
    card = render(tmp_path, 0)
    assert "0.600 ± 0.141" in card
    assert "over 2 seeds" in card
    assert "`presence`" in card
    assert "`ego`" not in card


def test_single_seed_says_so(tmp_path: Path) -> None:
    write_seed(tmp_path, 0, 0.5)
    assert "over 1 seed;" in render(tmp_path, 0)


def test_causal_weights_stand_beside_those_of_windows(tmp_path: Path) -> None:
    write_seed(tmp_path, 0, 0.5)
    scores = {name: 0.25 for name, _, _ in ROWS}
    about = ABOUT | {"recipe": "world_causal", "minutes": 36.8}
    (tmp_path / "causal.json").write_text(json.dumps({"about": about, "heldout": scores, "pairs": scores}))
    card = render(tmp_path, 0)
    assert "--recipe world_causal" in card
    assert "| verb of 8 | 0.500 | 0.250 | 0.500 | 0.250 |" in card


def test_no_results_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--out", str(tmp_path / "card.md")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_shipped_card_is_what_the_results_give() -> None:
    assert CARD.read_text() == render(ROOT / "docs" / "results" / "demo", seed_of(WEIGHTS))
