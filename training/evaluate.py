"""Evaluate HENASY: `python training/evaluate.py world` or `python training/evaluate.py stream r.jsonl`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from training.evaluation.command import evaluate_main  # noqa: E402 - imports start from the root

if __name__ == "__main__":
    sys.exit(evaluate_main(sys.argv[1:]))
