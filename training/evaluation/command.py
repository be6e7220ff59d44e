"""The command line of `evaluate.py`."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from henasy_stream._progress import Bar
from henasy_stream.errors import UserError, debugging
from training.evaluation.arguments import parser

if TYPE_CHECKING:
    from training.evaluation.embedding import Embedder, Videos
    from training.evaluation.result import Result


_MANY, _WIDE = 5, 140


def _show(title: str, columns: Mapping[str, Mapping[str, float]]) -> None:
    """Scores down and names across; the other way round, on wide lines, when there are many names."""
    names, scores, many = list(columns), list(next(iter(columns.values()))), len(columns) > _MANY
    across, down = (scores, names) if many else (names, scores)
    table = Table(title=title)
    table.add_column("" if many else "score")
    for head in across:
        table.add_column(head, justify="right")
    for row in down:
        values = [columns[row][head] if many else columns[head][row] for head in across]
        table.add_row(row, *(f"{value:.3f}" if isinstance(value, float) else str(value) for value in values))
    Console(width=max(Console().width, _WIDE) if many else None).print(table)


def _world(options: argparse.Namespace) -> tuple[dict[str, dict[str, float]], dict[str, object]]:
    """Scores by split, and what the weights say of their training."""
    from henasy_stream.model.causal import build_henasy
    from henasy_stream.model.checkpoints import load_strictly, load_weights
    from training.data.world_pool import open_pool
    from training.evaluation.world import CHOICES, score_world

    if options.clips < 50 * CHOICES:
        raise UserError(f"--clips {options.clips}: give at least {50 * CHOICES}, or there are too few distractors")
    state, config, metadata = load_weights(options.weights)
    model = build_henasy(config)
    load_strictly(model, state, options.weights)
    model.eval()
    splits = (options.split,) if options.split else ("heldout", "pairs")
    scores = {}
    for split in splits:
        pool = open_pool(options.pools, config, split=split, clips=options.clips, seed=1)
        scores[split] = score_world(model, pool, seed=options.seed).as_dict()
    return scores, metadata


def _embedder(options: argparse.Namespace) -> Embedder:
    from training.evaluation.embedding import open_embedder

    frames = getattr(options, "frames", None)
    return open_embedder(options.weights, device=options.device, batch=options.batch, num_frames=frames)


def _videos(options: argparse.Namespace) -> Videos:
    from training.evaluation.embedding import Videos

    return Videos(
        root=options.videos,
        layout=options.layout,
        chunk_s=options.chunk_seconds,
        workers=max(0, options.workers),
        shards=getattr(options, "shards", None),
    )


def _egomcq(options: argparse.Namespace) -> Result:
    from training.evaluation.egomcq import score_egomcq

    return score_egomcq(_embedder(options), options.annotations, _videos(options), score=options.score)


def _ek100_mir(options: argparse.Namespace) -> Result:
    from training.evaluation.ek100_mir import score_ek100_mir

    return score_ek100_mir(_embedder(options), options.annotations, _videos(options))


def _ek100_cls(options: argparse.Namespace) -> Result:
    from training.evaluation.ek100_cls import score_ek100_cls

    return score_ek100_cls(_embedder(options), options.annotations, _videos(options), template=options.template)


def _egtea(options: argparse.Namespace) -> Result:
    from training.evaluation.egtea import score_egtea

    return score_egtea(_embedder(options), options.annotations, _videos(options), template=options.template)


def _grounding(options: argparse.Namespace) -> Result:
    from training.evaluation.grounding import score_grounding

    return score_grounding(_embedder(options), options.annotations, _videos(options), seed=options.seed)


def _own(options: argparse.Namespace) -> Result:
    from training.evaluation.own import score_own

    return score_own(_embedder(options), options.folder, workers=max(0, options.workers), seed=options.seed)


_COMMANDS: dict[str, Callable[[argparse.Namespace], Result]] = {
    "egomcq": _egomcq,
    "ek100-mir": _ek100_mir,
    "ek100-cls": _ek100_cls,
    "egtea": _egtea,
    "grounding": _grounding,
    "own": _own,
}


def _streams(records: Sequence[Path]) -> tuple[dict[str, dict[str, float]], dict[str, Any], str]:
    """Scores of each record by its name and, as "stream", the mean over the records."""
    from training.evaluation.stream import score_stream

    each = {str(path): score_stream(path).as_dict() for path in records}
    first = next(iter(each.values()))
    if len(each) == 1:
        return {"stream": first}, {"record": records[0].name}, f"{records[0].name} against the world's truth"
    mean = {name: statistics.fmean(one[name] for one in each.values()) for name in first}
    return each | {"stream": mean}, {"records": list(each)}, f"{len(each)} records against the world's truth"


def _tracking(options: argparse.Namespace) -> tuple[dict[str, dict[str, float]], dict[str, Any], str]:
    from henasy_stream.loading import load
    from training.evaluation.tracking import score_tracking

    model = load(options.weights)
    if "entities" not in model.capabilities:
        raise UserError(f"{options.weights} has no entities that could be tracked: give weights of HENASY")
    seeds = range(options.seed, options.seed + options.streams)
    scores = score_tracking(model, seeds=seeds, seconds=options.seconds, troubled=options.troubled)
    about = {name: getattr(options, name) for name in ("weights", "streams", "seconds", "seed", "troubled")}
    return scores, about, f"ids on {options.streams} hard streams of {options.seconds} s"


def _segmentation(options: argparse.Namespace) -> tuple[dict[str, dict[str, float]], dict[str, Any], str]:
    from henasy_stream.loading import load
    from training.evaluation.segmentation import score_segmentation

    seeds = range(options.seed, options.seed + options.streams)
    scores = score_segmentation(load(options.weights), seeds=seeds, seconds=options.seconds)
    about = {name: getattr(options, name) for name in ("weights", "streams", "seconds", "seed")}
    return scores, about, f"captions as segments on {options.streams} plain and hard streams of {options.seconds} s"


def _relations(options: argparse.Namespace) -> tuple[dict[str, dict[str, float]], dict[str, Any], str]:
    from henasy_stream.loading import load
    from training.evaluation.relation_fit import score_ablation
    from training.evaluation.relation_weights import FIRST_SEED
    from training.evaluation.relations import score_relations

    model = load(options.weights)
    if "entities" not in model.capabilities:
        raise UserError(f"{options.weights} has no entities that could be related: give weights of HENASY")
    seeds = range(options.seed, options.seed + options.streams)
    scores: dict[str, dict[str, float]]
    if options.ablation:
        fitted_on = range(FIRST_SEED, FIRST_SEED + options.ablation)
        scores = score_ablation(model, seeds=seeds, fitted_on=fitted_on, seconds=options.seconds)
    else:
        scores = score_relations(model, seeds=seeds, seconds=options.seconds)
    about = {name: getattr(options, name) for name in ("weights", "streams", "seconds", "seed", "ablation")}
    return scores, about, f"who touches what on {options.streams} streams of {options.seconds} s of each kind"


def _queries(options: argparse.Namespace) -> tuple[dict[str, dict[str, float]], dict[str, Any], str]:
    from henasy_stream.loading import load
    from training.evaluation.queries import score_queries

    model = load(options.weights)
    if "entities" not in model.capabilities or not model.spec.synthetic:
        raise UserError(f"{options.weights} does not know the synthetic world, on which queries are scored")
    seeds = range(options.seed, options.seed + options.streams)
    scores = score_queries(model, seeds=seeds, seconds=options.seconds)
    about = {name: getattr(options, name) for name in ("weights", "streams", "seconds", "seed")}
    return scores, about, f"answers to queries on {options.streams} streams of {options.seconds} s"


def _synthetic(options: argparse.Namespace) -> None:
    title: str
    about: Mapping[str, object]
    with Bar(options.command, counted="time"):
        if options.command == "world":
            scores, about = _world(options)
            title = f"{options.weights.name} on the synthetic world"
        elif options.command == "tracking":
            scores, about, title = _tracking(options)
        elif options.command == "segmentation":
            scores, about, title = _segmentation(options)
        elif options.command == "relations":
            scores, about, title = _relations(options)
        elif options.command == "queries":
            scores, about, title = _queries(options)
        else:
            scores, about, title = _streams(options.records)
    _show(title, scores)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"about": about, **scores}, indent=1) + "\n")


def _run(options: argparse.Namespace) -> None:
    from training.distributed import ranks_of_environment

    ranks = ranks_of_environment()
    if ranks.size > 1 and not getattr(options, "shards", None):
        how = "give --shards DIR" if hasattr(options, "shards") else f"{options.command} runs in one"
        raise UserError(f"{ranks.size} workers have nothing to share the work through; {how}")
    if options.command not in _COMMANDS:
        _synthetic(options)
        return
    from training.evaluation.result import show, write_json

    result = _COMMANDS[options.command](options)
    if ranks.rank:
        return
    if options.json:
        write_json(result, options.json)
    show(result)


def evaluate_main(argv: Sequence[str]) -> int:
    """0 done, 2 a mistake in the arguments or in the data, 130 interrupted."""
    try:
        _run(parser().parse_args(argv))
    except (UserError, OSError) as error:
        if debugging():
            raise
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("evaluate: interrupted", file=sys.stderr)
        return 130
    return 0
