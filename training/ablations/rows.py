"""What the ablations switch: each row is options of `pretrain.py`, beside it the paper's numbers where it has any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row.  `name` is that of its files; `inter` and `intra` are the paper's, percent of EgoMCQ."""

    name: str
    title: str
    options: tuple[str, ...] = ()
    inter: float = float("nan")
    intra: float = float("nan")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows that one recipe trains and one evaluation scores.

    options: of every row.  towers: rows start from a dual encoder that is trained once for each seed.
    split, clips: of `evaluate.py world`.  results: folder of the scores.  named: of a row's file there, by `row` and
    `seed`.
    """

    recipe: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    options: tuple[str, ...]
    towers: bool
    split: Literal["heldout", "validation"]
    clips: int
    results: Path
    named: str

    def file(self, row: str, seed: int) -> Path:
        """Where the scores of one run lie, in the folder of the results."""
        return Path(self.named.format(row=row, seed=seed))


def _without(*losses: str) -> tuple[str, ...]:
    return tuple(word for loss in losses for word in (f"--losses.{loss.replace('_', '-')}", "0"))


ALL = "all"
LOSS_ROWS = (
    Row(
        name="ego", title="ego", options=_without("noun_entity", "verb_entities", "projection"), inter=93.4, intra=58.4
    ),
    Row(name="ego-nec", title="ego + NEC", options=_without("verb_entities", "projection"), inter=93.6, intra=59.9),
    Row(name="ego-vec", title="ego + VEC", options=_without("noun_entity", "projection"), inter=93.7, intra=59.7),
    Row(name="ego-proj", title="ego + proj", options=_without("noun_entity", "verb_entities"), inter=93.2, intra=58.5),
    Row(name="ego-nec-vec", title="ego + NEC + VEC", options=_without("projection"), inter=94.0, intra=61.1),
    Row(name=ALL, title="all (complete)", inter=94.1, intra=61.3),
)
"""Rows of the paper's loss ablation."""

DESIGN_ROWS = (
    Row(name="average", title="average pooling", options=("--model.decoder", "average"), inter=87.6, intra=47.9),
    Row(
        name="self-attention",
        title="self-attention decoder",
        options=("--model.decoder", "self_attention"),
        inter=93.3,
        intra=59.1,
    ),
    Row(
        name="no-bootstrapping",
        title="no bootstrapping",
        options=("--model.bootstrap-layers", "0"),
        inter=92.6,
        intra=59.2,
    ),
)
"""Rows of the paper's design ablation; the complete model is `ALL` of the losses."""

PAPER = Table(
    recipe="world_ablation",
    rows=(*LOSS_ROWS, *DESIGN_ROWS),
    seeds=(0, 1),
    options=(),
    towers=True,
    split="heldout",
    clips=2_000,
    results=ROOT / "docs" / "results" / "ablation",
    named="{row}-s{seed}.json",
)

DEMO = Table(
    recipe="world_demo",
    rows=(
        Row(name=ALL, title="the recipe"),
        *(
            Row(name=f"no-{loss}", title=f"without {loss}", options=_without(loss))
            for loss in ("slot_grounding", "presence", "box_inside", "box_fill")
        ),
        Row(
            name="no-tower-first",
            title="video tower taught nothing of its own",
            options=("--data.tower-steps", "0", *_without("tower_ego", "tower_nouns")),
        ),
        Row(name="unnamed-boxes", title="boxes without classes", options=("--data.no-labelled-boxes",)),
        Row(
            name="text-with-the-rest",
            title="text tower learns with the rest",
            options=("--data.text-steps", "0", "--freeze"),
        ),
    ),
    seeds=(0,),
    options=("--steps", "300", "--data.tower-steps", "400"),
    towers=False,
    split="validation",
    clips=1_000,
    results=ROOT / "docs" / "results" / "demo",
    named="ablation-{row}.json",
)
"""What each loss and each remedy beyond the paper does for the weights that ship; `training/card.py` shows it."""

TABLES = {"paper": PAPER, "demo": DEMO}
