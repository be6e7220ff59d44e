"""Each row switches what it says and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from training.ablations.rows import DEMO, PAPER, Row
from training.config import Recipe, WorldData
from training.losses import PAPER_LOSSES
from training.options import parse


def recipe_of(row: Row) -> Recipe:
    table = PAPER if row in PAPER.rows else DEMO
    return parse(["--recipe", table.recipe, *table.options, *row.options]).recipe


COMPLETE = recipe_of(PAPER.rows[5])
DEMO_ALL = recipe_of(DEMO.rows[0])


def test_complete_is_the_papers_recipe() -> None:
    assert COMPLETE.losses == {"ego": 1.0, "noun_entity": 0.5, "verb_entities": 0.5, "projection": 1.0}
    assert set(COMPLETE.freeze) == {"video", "text"}
    assert COMPLETE.model.decoder == "entity"
    assert COMPLETE.model.bootstrap_layers > 0


@pytest.mark.parametrize(
    ("row", "losses"),
    list(zip(PAPER.rows[:6], ("e", "en", "ev", "ep", "env", "envp"), strict=True)),
)
def test_loss_rows(row: Row, losses: str) -> None:
    kept = dict(zip("envp", PAPER_LOSSES, strict=True))
    wanted = {kept[letter]: COMPLETE.losses[kept[letter]] for letter in losses}
    assert recipe_of(row) == replace(COMPLETE, losses=wanted)


@pytest.mark.parametrize(
    ("row", "change"),
    list(
        zip(
            PAPER.rows[6:],
            ({"decoder": "average"}, {"decoder": "self_attention"}, {"bootstrap_layers": 0}),
            strict=True,
        )
    ),
)
def test_design_rows(row: Row, change: dict[str, object]) -> None:
    assert recipe_of(row) == replace(COMPLETE, model=replace(COMPLETE.model, **change))  # type: ignore[arg-type]


def test_demo_rows() -> None:
    assert isinstance(DEMO_ALL.data, WorldData)
    found = {row.name: recipe_of(row) for row in DEMO.rows}
    for loss in ("slot_grounding", "presence", "box_inside", "box_fill"):
        assert found[f"no-{loss}"].losses == {n: w for n, w in DEMO_ALL.losses.items() if n != loss}
    data = DEMO_ALL.data
    assert found["unnamed-boxes"] == replace(DEMO_ALL, data=replace(data, labelled_boxes=False))
    assert found["text-with-the-rest"] == replace(DEMO_ALL, data=replace(data, text_steps=0), freeze=())
    assert found["no-tower-first"].data == replace(data, tower_steps=0)
    assert not {"tower_ego", "tower_nouns"} & set(found["no-tower-first"].losses)


def test_names_are_files_apart() -> None:
    for table in (PAPER, DEMO):
        files = {table.file(row.name, seed) for row in table.rows for seed in table.seeds}
        assert len(files) == len(table.rows) * len(table.seeds)
