"""The page says what planted scores are."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from rich.console import Console

from training.ablations.page import render, write_page
from training.ablations.results import read_results
from training.ablations.rows import PAPER, Row

GROUNDING = ("noun_miou", "best_slot_miou", "hand_miou", "fg_ari", "trivial_centre_box", "dead_slots")


def plant(folder: Path, rows: tuple[Row, ...], *, sign: int = 1, seeds: tuple[int, ...] = (0, 1)) -> None:
    """Scores that follow the paper's numbers, or run against them, with two tenths of a percent of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    for at, row in enumerate(rows):
        for seed in seeds:
            noise = 0.002 * ((at + seed) % 2)
            scores = {
                "inter": 0.5 + sign * (row.inter - 90) / 100 + 0.01 * seed + noise,
                "intra": 0.4 + sign * (row.intra - 55) / 100 + 0.01 * seed + noise,
                **dict.fromkeys(GROUNDING, 0.25),
            }
            about = {"minutes": 4.5, "steps": 900, "batch": 16, "threads": 1}
            path = folder / PAPER.file(row.name, seed)
            path.write_text(json.dumps({"about": about, PAPER.split: scores}))


def cells(page: str, start: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith(start)
    ]


@pytest.mark.parametrize("sign", [1, -1])
def test_order_of_the_paper_and_its_reverse(tmp_path: Path, sign: int) -> None:
    plant(tmp_path, PAPER.rows, sign=sign)
    page = render(read_results(tmp_path, PAPER), Path("x.png"), "")
    correlations = cells(page, "| all rows")
    assert [row[1] for row in correlations] == ["inter", "intra", "mean of both"]
    assert all(row[2] == "9" and sign * float(row[3]) > 0.95 and sign * float(row[4]) > 0.9 for row in correlations)
    gap = cells(page, "| all (complete) > average pooling" if sign > 0 else "| average pooling > all (complete)")
    assert [row[-1] for row in gap] == (["yes"] * 3 if sign > 0 else ["**no**"] * 3)


def test_scores_are_percent_beside_the_papers(tmp_path: Path) -> None:
    plant(tmp_path, PAPER.rows)
    page = render(read_results(tmp_path, PAPER), Path("x.png"), "Because of the cat.")
    ego = next(row for row in cells(page, "| ego |") if "±" in row[1])
    assert ego[1] == "54.0 ± 0.8"  # 53.4 and 54.6
    assert ego[-2:] == ["93.4", "58.4"]
    assert "Because of the cat." in page
    assert "Not complete yet" not in page
    assert "video and text tower" in page


def test_rows_without_all_seeds_are_left_out_and_named(tmp_path: Path) -> None:
    plant(tmp_path, PAPER.rows)
    (tmp_path / PAPER.file("average", 1)).unlink()
    results = read_results(tmp_path, PAPER)
    assert [row.name for row in results.missing] == ["average"]
    page = render(results, Path("x.png"), "")
    assert "Not complete yet: average pooling." in page
    assert "design rows" in page


def test_page_and_picture_are_written_beside_scores_of_ones_own(tmp_path: Path) -> None:
    plant(tmp_path, PAPER.rows[:2])
    write_page(tmp_path, Console(quiet=True))
    assert not list(tmp_path.glob("*.md"))
    plant(tmp_path, PAPER.rows)
    write_page(tmp_path, Console(quiet=True))
    assert "![" in (tmp_path / "ablation.md").read_text()
    picture = cv2.imread(str(tmp_path / "ablation.png"))
    assert picture is not None
    assert picture.shape[1] > 1200
    assert picture.std() > 5
