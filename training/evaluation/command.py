"""The command line of `evaluate.py`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from henasy_stream.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "henasy_stream" / "weights" / "demo.safetensors"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evaluate.py", description="Scores of a model or of a record.")
    commands = parser.add_subparsers(dest="command", required=True)
    world = commands.add_parser("world", help="held-out clips of the synthetic world")
    world.add_argument("--weights", type=Path, default=DEMO, help="default: the weights that ship with the package")
    world.add_argument(
        "--split",
        choices=("heldout", "pairs", "validation"),
        help="one split only; by default heldout and, beside it, pairs (verb-noun pairs never trained)",
    )
    world.add_argument("--clips", type=int, default=2000, help="clips of a split (default 2000)")
    world.add_argument("--pools", type=Path, default=ROOT / ".cache" / "pools", help="where rendered clips are kept")
    world.add_argument("--seed", type=int, default=0, help="draws the distractors")
    world.add_argument("--json", type=Path, help="write the scores to this file as well")
    stream = commands.add_parser("stream", help="a record of `live --source world?… --record FILE`")
    stream.add_argument("record", type=Path)
    stream.add_argument("--json", type=Path, help="write the scores to this file as well")
    return parser


def _show(title: str, columns: Mapping[str, Mapping[str, float]]) -> None:
    table = Table(title=title)
    table.add_column("score")
    for name in columns:
        table.add_column(name, justify="right")
    for row in next(iter(columns.values())):
        values = [column[row] for column in columns.values()]
        table.add_row(row, *(f"{value:.3f}" if isinstance(value, float) else str(value) for value in values))
    Console().print(table)


def _world(options: argparse.Namespace) -> tuple[dict[str, dict[str, float]], dict[str, object]]:
    """Scores by split, and what the weights say of their training."""
    from henasy_stream.model.checkpoints import load_strictly, load_weights
    from henasy_stream.model.henasy import Henasy
    from training.data.world_pool import open_pool
    from training.evaluation.world import CHOICES, score_world

    if options.clips < 50 * CHOICES:
        raise UserError(f"--clips {options.clips}: give at least {50 * CHOICES}, or there are too few distractors")
    state, config, metadata = load_weights(options.weights)
    model = Henasy(config)
    load_strictly(model, state, options.weights)
    model.eval()
    splits = (options.split,) if options.split else ("heldout", "pairs")
    scores = {}
    for split in splits:
        pool = open_pool(options.pools, config, split=split, clips=options.clips, seed=1)
        scores[split] = score_world(model, pool, seed=options.seed).as_dict()
    return scores, metadata


def _run(options: argparse.Namespace) -> None:
    if options.command == "world":
        scores, about = _world(options)
        title = f"{options.weights.name} on the synthetic world"
    else:
        from training.evaluation.stream import score_stream

        scores, about = {"stream": score_stream(options.record).as_dict()}, {"record": options.record.name}
        title = f"{options.record.name} against the world's truth"
    _show(title, scores)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"about": about, **scores}, indent=1) + "\n")


def evaluate_main(argv: Sequence[str]) -> int:
    """0 done, 2 a mistake in the arguments."""
    try:
        _run(_parser().parse_args(argv))
    except (UserError, OSError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    return 0
