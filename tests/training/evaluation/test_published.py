"""The paper's rows agree with themselves, which a mistyped number would not."""

from __future__ import annotations

import pytest

from training.evaluation import published
from training.evaluation.published import EGOMCQ, EGTEA, EK100_CLS, EK100_MIR, GROUNDING, MODELS


@pytest.mark.parametrize("model", [model for model, row in EK100_MIR.items() if len(row) == 6])
@pytest.mark.parametrize("score", ["map", "ndcg"])
def test_averages_are_those_of_both_directions(model, score):
    row = EK100_MIR[model]
    assert row[f"{score}_avg"] == pytest.approx((row[f"{score}_v2t"] + row[f"{score}_t2v"]) / 2, abs=0.0501)


def test_henasy_leads_where_the_paper_says_so():
    for rows, names in ((EGOMCQ, ("inter", "intra")), (EK100_CLS, ("action_top1", "action_top5")), (EGTEA, ("top1",))):
        for name in names:
            assert max(rows, key=lambda model: rows[model].get(name, 0)) == "HENASY"
    assert GROUNDING["HENASY"]["noun_miou"] - GROUNDING["HelpingHands (B)"]["noun_miou"] == pytest.approx(18.33)


def test_every_model_has_a_column():
    tables = (EGOMCQ, EK100_MIR, EK100_CLS, EGTEA, GROUNDING)
    assert {model for rows in tables for model in rows} == set(MODELS)
    assert sum(name.isupper() for name in vars(published)) == len(tables) + 1
