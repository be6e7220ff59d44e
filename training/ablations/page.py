"""`docs/ablation.md`, written from the scores alone; what people found about them stands in `notes.md` beside these."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from henasy_stream.model.henasy import Henasy
from training.ablations.plot import draw
from training.ablations.results import Results, read_results
from training.ablations.rows import DESIGN_ROWS, LOSS_ROWS, PAPER, ROOT, Row
from training.ablations.statistics import (
    CONFIDENCE,
    Scores,
    pairs_of_rows,
    rank_correlation,
    spread_of_rows,
)
from training.network import freeze
from training.options import parse

PAGE = ROOT / "docs" / "ablation.md"
PICTURE = ROOT / "docs" / "images" / "ablation.png"
MIN_ROWS = 3
LAVILA = (93.8, 59.9)
GROUNDING = (
    ("noun_miou", "narrated object, IoU of the slot that its name chooses"),
    ("best_slot_miou", "of the best slot"),
    ("hand_miou", "hands by name"),
    ("fg_ari", "FG-ARI"),
    ("trivial_centre_box", "a box in the middle"),
    ("dead_slots", "dead slots of 8"),
)


def write_page(folder: Path, console: Console) -> None:
    """Write the page and its picture from the scores in `folder`; fewer than `MIN_ROWS` rows write nothing.

    Of the scores in the repository they are `PAGE` and `PICTURE`, of others two files beside them.
    """
    own = folder.resolve() == PAPER.results
    page, picture = (PAGE, PICTURE) if own else (folder / PAGE.name, folder / PICTURE.name)
    results = read_results(folder, PAPER)
    if len(results.rows) < MIN_ROWS or len(results.seeds) < 2:
        console.print(f"no page yet: it takes {MIN_ROWS} rows of the same 2 seeds or more in {folder}")
        return
    draw(results, picture)
    notes = folder / "notes.md"
    text = render(results, Path(os.path.relpath(picture, page.parent)), notes.read_text() if notes.exists() else "")
    page.write_text(text)
    console.print(f"wrote {page} and {picture}")


def render(results: Results, picture: Path, notes: str) -> str:
    """The page as Markdown."""
    about = results.about[0]
    minutes = [run["minutes"] for run in results.about]
    parts = [
        "# The paper's ablations on the synthetic world\n",
        "Written by `make ablation`; do not edit.  The paper's rows (loss ablation and design ablation, EgoMCQ) are "
        f"trained on the synthetic world, each with the same {len(results.seeds)} seeds, and scored on {PAPER.clips} "
        "held-out clips: which of five clips does a narration tell of, among clips with another verb and another noun "
        "(inter) or with the same verb or the same noun (intra).  The question is whether the *order* of the rows is "
        "the paper's; the numbers themselves are those of another task.\n",
        f"![Each row here and in the paper]({picture.as_posix()})\n",
        "## Scores\n",
        f"Percent, mean ± standard deviation over the seeds {', '.join(map(str, results.seeds))}; chance is 20.\n",
        _scores(results),
        "## Is it the paper's order?\n",
        "Rank correlation of our means with the paper's numbers: 1 the same order, 0 none, −1 the reverse.  p: how "
        "often independent orders agree or disagree as much, for Kendall's tau.\n",
        _correlations(results),
        "## Which rows can be told apart at all?\n",
        _pairs(results),
        "## Where the entities look\n",
        "IoU at pixel level and FG-ARI, mean over the seeds.  The paper gives no such numbers for its rows.\n",
        _grounding(results),
        "## What is frozen, what is trained\n",
        _frozen(results),
        "## How\n",
        f"{about['steps']} steps of {about['batch']} clips, each with a hard negative (the next action of the same "
        f"stream), on {about['threads']} CPU thread, {min(minutes):.1f}–{max(minutes):.1f} minutes a run.  Scores: "
        "`docs/results/ablation/`, a file for each run.  Rows: `training/ablations/rows.py`; recipe: "
        "`training/recipes/world_ablation.py`.\n",
    ]
    if results.missing:
        parts.append(f"Not complete yet: {', '.join(row.title for row in results.missing)}.\n")
    if notes:
        parts += ["## What we make of it\n", notes.strip() + "\n"]
    return "\n".join(parts)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "| --- |" + " ---: |" * (len(header) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def _spread(values: Sequence[float] | Scores) -> str:
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def _scores(results: Results) -> str:
    rows = [
        (
            row.title,
            *(_spread(results.scores[kind][i]) for kind in ("inter", "intra")),
            _spread(results.both[i]),
            f"{row.inter:.1f}",
            f"{row.intra:.1f}",
        )
        for i, row in enumerate(results.rows)
    ]
    if len(results.towers.get("inter", ())) == len(results.seeds):
        inter, intra = results.towers["inter"], results.towers["intra"]
        towers = ("*the towers alone (paper: LaViLa)*", _spread(inter), _spread(intra), _spread((inter + intra) / 2))
        rows.append((*towers, *(f"{value:.1f}" for value in LAVILA)))
    return _table(("row", "inter", "intra", "mean of both", "paper inter", "paper intra"), rows)


def _measures(results: Results) -> list[tuple[str, Scores, Scores]]:
    inter, intra = (np.array([getattr(row, kind) for row in results.rows]) for kind in ("inter", "intra"))
    return [
        ("inter", results.scores["inter"], inter),
        ("intra", results.scores["intra"], intra),
        ("mean of both", results.both, (inter + intra) / 2),
    ]


def _correlations(results: Results) -> str:
    names = [row.name for row in results.rows]
    complete = LOSS_ROWS[-1]
    sets: list[tuple[str, tuple[Row, ...]]] = [
        ("loss rows", LOSS_ROWS),
        ("design rows and complete", (*DESIGN_ROWS, complete)),
        ("all rows", (*LOSS_ROWS, *DESIGN_ROWS)),
    ]
    rows = []
    for title, members in sets:
        at = [names.index(row.name) for row in members if row.name in names]
        if len(at) < MIN_ROWS:
            continue
        for measure, scores, paper in _measures(results):
            found = rank_correlation(scores.mean(1)[at], paper[at])
            rows.append(
                (title, measure, str(len(at)), f"{found.spearman:+.2f}", f"{found.kendall:+.2f}", f"{found.p:.3f}")
            )
    return _table(("rows", "measure", "number", "Spearman", "Kendall", "p"), rows)


def _pairs(results: Results) -> str:
    parts = [
        "A seed draws the towers that all its rows share, so it moves all rows; what is left when row and seed are "
        "taken away is the noise of one run.  Two means that lie further apart than the margin (Fisher's least "
        f"significant difference, {CONFIDENCE:.0%}) can be told apart; with so many pairs one in twenty would be by "
        "chance.\n"
    ]
    counts, told = [], []
    for measure, scores, paper in _measures(results):
        spread = spread_of_rows(scores)
        pairs = pairs_of_rows(scores.mean(1), paper, spread.margin)
        apart = [pair for pair in pairs if pair.told_apart]
        counts.append(
            (
                measure,
                f"{spread.residual:.2f}",
                f"{spread.margin:.2f}",
                f"{len(apart)} of {len(pairs)}",
                f"{sum(pair.agrees for pair in apart)} of {len(apart)}",
            )
        )
        for pair in apart:
            first, second = (pair.first, pair.second) if pair.gap > 0 else (pair.second, pair.first)
            told.append(
                (
                    f"{results.rows[first].title} > {results.rows[second].title}",
                    measure,
                    f"{abs(pair.gap):+.1f}",
                    f"{pair.paper if pair.gap > 0 else -pair.paper:+.1f}",
                    "yes" if pair.agrees else "**no**",
                )
            )
    header = ("measure", "noise of a run", "margin", "pairs told apart", "of these in the paper's order")
    parts.append(_table(header, counts))
    if told:
        parts += [
            "The pairs themselves:\n",
            _table(("pair", "measure", "gap here", "gap in the paper", "same order"), told),
        ]
    return "\n".join(parts)


def _grounding(results: Results) -> str:
    return _table(
        ("row", *(title for _, title in GROUNDING)),
        [(row.title, *(f"{results.mean(name)[i]:.3f}" for name, _ in GROUNDING)) for i, row in enumerate(results.rows)],
    )


def _frozen(results: Results) -> str:
    rows = []
    for row in results.rows:
        recipe = parse(["--recipe", PAPER.recipe, *PAPER.options, *row.options]).recipe
        model = Henasy(recipe.model)
        freeze(model, recipe.freeze)
        trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        still = sum(parameter.numel() for parameter in model.parameters()) - trained
        losses = ", ".join(f"{weight:g} · {name}" for name, weight in recipe.losses.items())
        rows.append(
            (row.title, " and ".join(recipe.freeze) + f" tower, {still / 1e6:.2f} M", f"{trained / 1e3:.0f} k", losses)
        )
    towers = results.about_towers
    made = (
        "The towers come pretrained, as LaViLa's in the paper.  Once for each seed the text tower learns from "
        f"sentences ({towers[0]['text_steps']} steps), then the video tower from named boxes of single frames "
        f"({towers[0]['picture_steps']} steps of 64; LaViLa began as CLIP, which knows what things are from pictures), "
        f"then from clips and their narrations by EgoNCE ({towers[0]['clip_steps']} steps of {towers[0]['batch']} "
        "clips).\n"
        if towers
        else ""
    )
    return "\n".join([made, _table(("row", "frozen", "trained", "losses"), rows)])
