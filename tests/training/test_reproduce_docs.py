"""docs/reproduce.md: every command is understood, every row has the paper's numbers, and the arithmetic is right."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from training.ablations.rows import DESIGN_ROWS, LOSS_ROWS, Row
from training.evaluation.arguments import parser as evaluate_parser
from training.evaluation.published import EGOMCQ, EGTEA, EK100_CLS, EK100_MIR
from training.extraction.command import _parser as extract_parser
from training.options import parse
from training.preparation.arguments import parser as prepare_parser
from training.recipes.henasy_base_egoclip import RECIPE as PAPER

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reproduce.md").read_text()
COMMANDS = re.findall(r"^\$ (?:python|torchrun --nproc-per-node 2) training/(\w+)\.py (.*)$", PAGE, re.M)
ROWS, DOUBLED = 3_847_723, 2


def test_the_gate_comes_before_any_training() -> None:
    gate = PAGE.index("--weights lavila --score dot")
    assert gate < PAGE.index("training/pretrain.py")
    lavila = EGOMCQ["LaViLa (B)"]
    assert f"{lavila['inter']} inter and {lavila['intra']} intra, each within 0.3, or stop" in PAGE


@pytest.mark.parametrize(("program", "line"), COMMANDS)
def test_every_command_is_understood(program: str, line: str) -> None:
    argv = shlex.split(line)
    if program == "pretrain":
        assert parse(argv).recipe.losses == PAPER.losses
    else:
        {"prepare": prepare_parser, "evaluate": evaluate_parser, "extract": extract_parser}[program]().parse_args(argv)


def test_every_table_has_its_command() -> None:
    asked = {shlex.split(line)[0] for program, line in COMMANDS if program in ("evaluate", "extract")}
    assert asked == {"egomcq", "ek100-mir", "ek100-cls", "egtea", "grounding", "nlq", "mq"}


@pytest.mark.parametrize("row", [*LOSS_ROWS, *DESIGN_ROWS], ids=lambda row: row.name)
def test_rows_of_the_ablations_are_the_papers(row: Row) -> None:
    line = (
        f"`{' '.join(row.options)}` | {row.inter} / {row.intra} |" if row.options else f"| {row.inter} / {row.intra} |"
    )
    assert line in PAGE
    parse(["--recipe", "henasy_base_egoclip", *row.options])


def test_published_numbers() -> None:
    mir, cls, egtea = EK100_MIR["HENASY"], EK100_CLS["HENASY"], EGTEA["HENASY"]
    assert f"| {mir['map_avg']}, {mir['ndcg_avg']} |" in PAGE
    assert f"| {cls['action_top1']} / {cls['action_top5']} |" in PAGE
    assert f"| {egtea['top1']} / {egtea['mean_class']} |" in PAGE


def test_arithmetic_of_what_it_takes() -> None:
    assert f"{ROWS:,} rows" in PAGE
    batches = ROWS // PAPER.batch * PAPER.epochs
    clips = batches * PAPER.batch * DOUBLED
    work = clips * (200.8 + 2 * 22.1) * 1e9
    assert f"| batches | {batches:,} |" in PAGE
    assert f"{clips / 1e6:.1f} M" in PAGE
    assert f"{work / 1e18:.1f} × 10¹⁸ FLOPs" in PAGE
    hours = [round(work / rate / 3600) for rate in (20e12, 40e12, 100e12)]
    assert f"| {hours[0]}, {hours[1]} or {hours[2]} |" in PAGE
    assert f"hours = {round(clips / 3600, -1):,.0f} ÷ that" in PAGE
    assert f"{16 * 200.8e9 / 34.9e-3 / 1e12:.0f} TFLOP/s" in PAGE
    terabytes = [2_927 * 3_600 * rate / 1e12 for rate in (64e3, 177e3)]
    assert f"{terabytes[0]:.1f} to {terabytes[1]:.1f} TB" in PAGE
