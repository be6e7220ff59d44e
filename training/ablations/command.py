"""The command line of `ablation.py`: what to train, in how many processes, and what comes of it."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from henasy_stream._arguments import Parser
from henasy_stream.errors import UserError
from training.ablations.jobs import Job, run_jobs
from training.ablations.rows import ROOT, TABLES, Row, Table
from training.ablations.towers import TowerPlan
from training.data.opening import open_data
from training.data.world_pool import open_pool
from training.distributed import ALONE, CPU
from training.options import parse


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One call.  out: runs, towers and logs.  results: scores.  options: of every row, after those of the table.

    side_by_side: threads in use at a time.
    """

    table: Table
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    out: Path
    results: Path
    pools: Path
    side_by_side: int
    options: tuple[str, ...]
    tower_plan: TowerPlan

    def towers(self, seed: int) -> Path:
        """What the rows of one seed start from."""
        return self.out / f"towers-s{seed}.safetensors"

    def tower_job(self, seed: int) -> Job:
        """Trains the towers of one seed; all seeds at once, on all threads."""
        threads = max(1, self.side_by_side // len(self.seeds))
        command = (sys.executable, "-m", "training.ablations.towers", "--recipe", self.table.recipe,
                   "--seed", str(seed), "--pools", str(self.pools), "--towers-out", str(self.towers(seed)),
                   "--scores", str(self.results / f"towers-s{seed}.json"),
                   "--split", self.table.split, "--eval-clips", str(self.table.clips),
                   "--picture-steps", str(self.tower_plan.picture_steps),
                   "--clip-steps", str(self.tower_plan.clip_steps), *self.options,
                   "--threads", str(threads))  # fmt: skip
        return Job(
            name=f"towers, seed {seed}",
            commands=(command,),
            made=self.towers(seed),
            done=self.towers(seed),
            log=self.out / "logs" / f"towers-s{seed}.log",
            threads=threads,
        )

    def row_job(self, row: Row, seed: int) -> Job:
        """Trains and scores one row."""
        run = self.out / "runs" / f"{row.name}-s{seed}"
        start = ("--init", str(self.towers(seed))) if self.table.towers else ()
        train = (sys.executable, "training/pretrain.py", "--recipe", self.table.recipe, "--seed", str(seed),
                 "--out", str(run), "--pools", str(self.pools), *start, *self.changes(row))  # fmt: skip
        score = (sys.executable, "training/evaluate.py", "world", "--weights", str(run / "weights.safetensors"),
                 "--split", self.table.split, "--clips", str(self.table.clips), "--pools", str(self.pools),
                 "--json", str(run / "scores.json"))  # fmt: skip
        return Job(
            name=f"{row.name}, seed {seed}",
            commands=(train, score),
            made=run / "scores.json",
            done=self.results / self.table.file(row.name, seed),
            log=self.out / "logs" / f"{row.name}-s{seed}.log",
            after=(self.towers(seed),) if self.table.towers else (),
        )

    def changes(self, row: Row) -> tuple[str, ...]:
        """Options by which a row differs from the recipe."""
        return (*self.table.options, *row.options, *self.options)


def _arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = Parser(
        prog="ablation.py",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train the rows of an ablation side by side and write what came of them.\n"
        "The same command goes on where it was stopped.  Further options override fields of the recipe in every row.",
    )
    parser.add_argument("--table", choices=tuple(TABLES), default="paper", help="the paper's rows, or the demo's own")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="threads in use at a time (default: all)")
    parser.add_argument("--rows", nargs="+", help="only these")
    parser.add_argument("--seeds", nargs="+", type=int, help="default: those of the table")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long; what has ended is kept")
    parser.add_argument("--out", type=Path, help="towers, runs and logs (default runs/ablation-<table>)")
    parser.add_argument("--results", type=Path, help="scores, a file for each run (default below docs/results)")
    parser.add_argument("--pools", type=Path, default=ROOT / ".cache" / "pools", help="rendered clips")
    towers = TowerPlan()
    parser.add_argument("--picture-steps", type=int, default=towers.picture_steps, help="of the towers, on pictures")
    parser.add_argument("--clip-steps", type=int, default=towers.clip_steps, help="of the towers, on clips")
    parser.add_argument("--clips", type=int, help="held-out clips that score a row (default: as the table says)")
    parser.add_argument("--only-towers", action="store_true", help="train what the rows start from, and stop")
    parser.add_argument("--list", action="store_true", help="say what each row is and stop")
    parser.add_argument("--report", action="store_true", help="train nothing, write the page from what there is")
    return parser.parse_known_args(argv)


def _plan(own: argparse.Namespace, rest: Sequence[str]) -> Plan:
    table = TABLES[own.table]
    if own.clips:
        table = replace(table, clips=own.clips)
    known = {row.name: row for row in table.rows}
    unknown = sorted(set(own.rows or ()) - set(known))
    if unknown:
        raise UserError(f"no row {unknown[0]!r} in the table {own.table!r}; there are {', '.join(known)}")
    if own.jobs < 1:
        raise UserError(f"--jobs {own.jobs}: give at least 1")
    return Plan(
        table=table,
        rows=tuple(known[name] for name in own.rows or known),
        seeds=tuple(own.seeds or table.seeds),
        out=(own.out or ROOT / "runs" / f"ablation-{own.table}").absolute(),
        results=(own.results or table.results).absolute(),
        pools=own.pools.absolute(),
        side_by_side=own.jobs,
        options=tuple(rest),
        tower_plan=TowerPlan(picture_steps=own.picture_steps, clip_steps=own.clip_steps),
    )


def _render(plan: Plan, console: Console) -> None:
    """All clips, once, by all cores, before the first run asks for them."""
    drawn: set[tuple[str, ...]] = set()
    for row in plan.rows:
        for seed in plan.seeds:
            options = parse(["--recipe", plan.table.recipe, "--seed", str(seed), *plan.changes(row)])
            recipe = replace(options.recipe, init="")
            key = (repr(recipe.data), repr(recipe.model.vision), repr(recipe.model.preprocess))
            if key not in drawn:
                drawn.add(key)
                open_data(recipe, pools=plan.pools, ranks=ALONE, device=CPU, console=console)
                open_pool(plan.pools, recipe.model, split=plan.table.split, clips=plan.table.clips, seed=1)


def _check(plan: Plan) -> None:
    """Raises UserError where scores are there that other settings have given."""
    for row in plan.rows:
        recipe = parse(["--recipe", plan.table.recipe, *plan.changes(row)]).recipe
        settings = {"steps": recipe.steps, "batch": recipe.batch, "losses": dict(recipe.losses)}
        for seed in plan.seeds:
            _same(plan.results / plan.table.file(row.name, seed), {**settings, "seed": seed})
    if plan.table.towers:
        for seed in plan.seeds:
            _same(plan.results / f"towers-s{seed}.json", {**asdict(plan.tower_plan), "seed": seed})


def _same(file: Path, settings: Mapping[str, Any]) -> None:
    about = json.loads(file.read_text())["about"] if file.exists() else settings
    for name, value in settings.items():
        if about.get(name) != value:
            raise UserError(
                f"{file} comes from a run with {name} {about.get(name)}, not {value}; give the same again, or another "
                "--results and --out"
            )


def _train(plan: Plan, minutes: float, console: Console, *, only_towers: bool) -> int:
    started = time.monotonic()
    _check(plan)
    _render(plan, console)
    jobs = [plan.row_job(row, seed) for row in plan.rows for seed in plan.seeds]
    if plan.table.towers:
        open_seeds = [seed for seed in plan.seeds if any(plan.towers(seed) in job.after for job in jobs if job.open)]
        jobs = [*(plan.tower_job(seed) for seed in open_seeds), *([] if only_towers else jobs)]
    seconds = minutes * 60 - (time.monotonic() - started)
    outcome = run_jobs(jobs, side_by_side=plan.side_by_side, seconds=seconds, tell=console.print)
    console.print(
        f"{len(outcome.found)} were there, {len(outcome.ended)} ended, {len(outcome.failed)} failed, "
        f"{len(outcome.left)} left"
    )
    return 1 if outcome.failed else 3 if outcome.left else 0


def _show(table: Table, console: Console) -> None:
    for row in table.rows:
        console.print(f"{row.name:20} {row.title:40} {' '.join(row.options)}", markup=False, highlight=False)


def ablation_main(argv: Sequence[str]) -> int:
    """0 all done, 1 a run failed, 2 a mistake in the arguments, 3 stopped by --minutes, 130 by Ctrl-C."""
    console = Console(stderr=True)
    try:
        own, rest = _arguments(argv)
        plan = _plan(own, rest)
        if own.list:
            _show(plan.table, Console())
            return 0
        code = 0 if own.report else _train(plan, own.minutes, console, only_towers=own.only_towers)
        if own.table == "paper":
            from training.ablations.page import write_page

            write_page(plan.results, console)
    except UserError as error:
        print(f"ablation: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ablation: interrupted; the same command goes on", file=sys.stderr)
        return 130
    return code
