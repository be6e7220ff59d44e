"""Fits how sure answers to queries are and keeps that beside the weights."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from henasy_stream._arguments import Parser
from henasy_stream.errors import UserError
from henasy_stream.loading import load, weights_file
from henasy_stream.model.checkpoints import write_atomically
from henasy_stream.types import Calibration, QueryCalibration
from training.evaluation.queries import Float64Array, Row, ask

THINGS = ("noun", "with article")
ACTIONS = ("verb", "verb and noun")
_STEPS = 50
_RIDGE = 1e-3


def fit(logits: Float64Array, true: npt.NDArray[np.bool_]) -> Calibration:
    """Platt's logistic regression of truth on log odds (N,), and the threshold with the best F1.

    Newton's method on the log-likelihood with a slight ridge, so that separable data has a finite slope.

    Raises:
        UserError: all are true or none is.
    """
    if true.all() or not true.any():
        raise UserError("queries: of what is asked for, all or nothing is there; calibrate on more streams")
    x = np.stack([logits, np.ones_like(logits)], 1)
    weights = np.array([1.0, 0.0])
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ weights, -60, 60)))
        gradient = x.T @ (true - p) - _RIDGE * weights
        curvature = (x * (p * (1 - p))[:, None]).T @ x + _RIDGE * np.eye(2)
        weights = weights + np.linalg.solve(curvature, gradient)
    score = 1.0 / (1.0 + np.exp(-np.clip(x @ weights, -60, 60)))
    candidates = np.linspace(0.05, 0.95, 91)
    f1 = [2 * (true & (score >= t)).sum() / max((score >= t).sum() + true.sum(), 1) for t in candidates]
    return Calibration(
        slope=round(float(weights[0]), 4),
        offset=round(float(weights[1]), 4),
        threshold=round(float(candidates[int(np.argmax(f1))]), 2),
    )


def fit_rows(rows: Sequence[Row]) -> QueryCalibration:
    """Of answers that were given without a calibration."""
    parts = []
    for groups in (THINGS, ACTIONS):
        chosen = [row for row in rows if row.query.group in groups]
        parts.append(fit(np.array([row.logit for row in chosen]), np.array([row.true for row in chosen], bool)))
    return QueryCalibration(entity=parts[0], action=parts[1])


def keep(calibration: QueryCalibration, config: Path) -> None:
    """Writes it into the `.json` of some weights; all else stays as it is."""
    note: dict[str, Any] = json.loads(config.read_text("utf-8"))
    note["config"]["queries"] = msgspec.to_builtins(calibration)
    text = json.dumps(note, indent=1, ensure_ascii=False) + "\n"
    write_atomically(config, lambda part: Path(part).write_text(text, "utf-8"))


def calibrate_main(argv: Sequence[str]) -> int:
    """0 done, 2 a mistake in the arguments."""
    parser = Parser(prog="calibrate.py", description="Fit how sure answers to queries are, on the synthetic world.")
    parser.add_argument("--weights", default="demo", help="default: the weights that ship with the package")
    parser.add_argument("--streams", type=int, default=20, help="how many, of split validation (default 20)")
    parser.add_argument("--seconds", type=float, default=60, help="length of a stream (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the first stream (default 0)")
    parser.add_argument("--dry-run", action="store_true", help="print it and keep nothing")
    try:
        options = parser.parse_args(argv)
        model = load(options.weights)
        if "entities" not in model.capabilities or not model.spec.synthetic:
            raise UserError(
                f"{options.weights} does not know the synthetic world; its queries can't be calibrated on it"
            )
        plain = replace(model, spec=replace(model.spec, queries=None))
        seeds = range(options.seed, options.seed + options.streams)
        calibration = fit_rows(ask(plain, split="validation", seeds=seeds, seconds=options.seconds))
        print(json.dumps(msgspec.to_builtins(calibration)))
        if not options.dry_run:
            config = weights_file(options.weights, print).with_suffix(".json")
            keep(calibration, config)
            print(f"kept in {config}")
    except (UserError, OSError) as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 2
    return 0
