"""The command line of `fit_relations.py`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from henasy_stream._arguments import Parser
from henasy_stream.errors import UserError
from henasy_stream.stream import relation_weights
from henasy_stream.stream.relation_weights import Weights
from training.preparation.arguments import from_one

FIRST_SEED = 501
SPLIT = "validation"


def fit_main(argv: Sequence[str]) -> int:
    """0 done, 2 a mistake in the arguments."""
    parser = Parser(prog="fit_relations.py", description="Weights of the evidence of relations.")
    parser.add_argument("--weights", default="demo", help="of the network; default: those of the package")
    parser.add_argument("--streams", type=from_one, default=16, help="how many, twice (default 16)")
    parser.add_argument("--seconds", type=from_one, default=60, help="length of a stream (default 60)")
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help=f"of the first stream (default {FIRST_SEED})")
    parser.add_argument("--out", type=Path, default=Path(relation_weights.__file__), help="default: the package's own")
    try:
        options = parser.parse_args(argv)
        text = options.out.read_text("utf-8") if options.out.exists() else _template()
        options.out.write_text(rewritten(text, *_fitted(options)), "utf-8")
    except (UserError, OSError) as error:
        print(f"fit_relations: {error}", file=sys.stderr)
        return 2
    return 0


def rewritten(text: str, own: Weights, outside: Weights) -> str:
    """The source `text` with other values for `OWN` and `OUTSIDE`."""
    head = text[: re.search(r"^OWN = ", text, re.MULTILINE).start()]  # type: ignore[union-attr]
    return head + f"OWN = {_source(own)}\nOUTSIDE = {_source(outside)}\n"


def _fitted(options: argparse.Namespace) -> tuple[Weights, Weights]:
    from henasy_stream.loading import load
    from henasy_stream.stream.relation_evidence import CONTACT_EVIDENCE
    from training.evaluation.relation_fit import fit
    from training.evaluation.relations import streams

    model = load(options.weights)
    if "entities" not in model.capabilities:
        raise UserError(f"{options.weights} has no entities that could be related: give weights of HENASY")
    seeds = range(options.seed, options.seed + options.streams)
    found = []
    for outside in (False, True):
        hops = streams(model, seeds, options.seconds, split=SPLIT, outside=outside)
        found.append(fit(hops, range(len(CONTACT_EVIDENCE))))
    return found[0], found[1]


def _template() -> str:
    return Path(relation_weights.__file__).read_text("utf-8")


def _source(weights: Weights) -> str:
    values = ", ".join(f"{value:.3f}" for value in weights.evidence)
    return f"Weights(evidence=({values}), offset={weights.offset:.3f})"
